/** W3C trace context: from the client to every leg, in both dialects, and into the record. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { explainRecord, type RequestRecord } from '../../src/router/index.ts';
import { type Bed, type Json, LONG_PROMPT, MODEL, recordAt, startBed, startTestRouter } from './router-fixture.ts';
import { NixlBed } from './router-nixl-fixture.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;
const STATE = 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE';
const PATHS = ['/v1/completions', '/v1/chat/completions'] as const;

interface Legs {
  readonly traceparent: readonly (string | undefined)[];
  readonly tracestate: readonly (string | undefined)[];
  readonly record: RequestRecord;
}

let sluice: Bed;
let nixl: NixlBed;
let count = 0;

// Reports of load are up to 200 ms old, and a prefill instance that seems to be busy would be passed over.
beforeAll(async () => {
  [sluice, nixl] = await Promise.all([startBed({ prefill: 4, decode: 1 }), NixlBed.start({ prefill: 1, decode: 1 })]);
});

afterAll(async () => {
  await Promise.all([sluice.close(), nixl.close()]);
});

function bodyOf(path: string): object {
  count += 1;
  const prompt = `Number ${count}. ${LONG_PROMPT}`;
  return { max_tokens: 2, ...(path === PATHS[0] ? { prompt } : { messages: [{ role: 'user', content: prompt }] }) };
}

function headerOf(head: string, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)\r$`, 'mi').exec(head)?.[1];
}

const DIALECTS = {
  async sluice(path: string, headers: Readonly<Record<string, string>>): Promise<Legs> {
    const answer = await sluice.post(path, { model: MODEL, ...bodyOf(path) }, headers);
    expect(answer.status).toBe(200);
    const id = answer.headers.get('x-request-id') ?? '';
    const record = await recordAt(sluice.router.adminUrl, id);
    const heads = sluice.engines.flatMap(({ gate }) => gate.seen.map(({ head }) => head)).filter((head) => head.includes(id));
    const each = (name: string) => heads.map((head) => headerOf(head, name));
    return { traceparent: each('traceparent'), tracestate: each('tracestate'), record };
  },

  async nixl(path: string, headers: Readonly<Record<string, string>>): Promise<Legs> {
    const { status, id } = await nixl.post(path, bodyOf(path), headers);
    expect(status).toBe(200);
    const legs = nixl.engines.flatMap(({ served }) => served).filter((asked) => asked.headers['x-request-id'] === id);
    const each = (name: string) => legs.map((asked) => asked.headers[name] as string | undefined);
    const record = await nixl.record(id);
    return { traceparent: each('traceparent'), tracestate: each('tracestate'), record };
  },
};

describe.each(['sluice', 'nixl'] as const)('%s', (dialect) => {
  const ask = DIALECTS[dialect];

  it.each(PATHS)('goes to both legs and into the record, %s', async (path) => {
    const { traceparent, tracestate, record } = await ask(path, { traceparent: PARENT, tracestate: STATE });
    expect([traceparent, tracestate]).toEqual([
      [PARENT, PARENT],
      [STATE, STATE],
    ]);
    expect(record.traceId).toBe(TRACE);
    expect(explainRecord(record)).toContain(`trace    ${TRACE}`);
  });

  it.each(PATHS)('is not there when the client sent none, %s', async (path) => {
    const { traceparent, tracestate, record } = await ask(path, { tracestate: STATE });
    expect([traceparent, tracestate]).toEqual([
      [undefined, undefined],
      [undefined, undefined],
    ]);
    expect(record.traceId).toBeNull();
  });

  it.each([PARENT.toUpperCase(), `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, `${PARENT}-more`, 'nonsense'])(
    'does not pass %s on',
    async (traceparent) => {
      const legs = await ask(PATHS[0], { traceparent, tracestate: STATE });
      expect([legs.traceparent, legs.tracestate]).toEqual([
        [undefined, undefined],
        [undefined, undefined],
      ]);
      expect(legs.record.traceId).toBeNull();
    },
  );

  it('passes on a parent without a state that is malformed or has no room', async () => {
    for (const tracestate of ['a=1,a=2', `a=${'x'.repeat(256)},b=${'x'.repeat(256)},c=${'x'.repeat(256)}`]) {
      const legs = await ask(PATHS[0], { traceparent: PARENT, tracestate });
      expect(legs.traceparent).toEqual([PARENT, PARENT]);
      for (const state of legs.tracestate) expect((state ?? '').length).toBeLessThanOrEqual(512);
      if (tracestate.startsWith('a=1')) expect(legs.tracestate).toEqual([undefined, undefined]);
    }
  });
});

it('is in the log line of a request that failed', async () => {
  const lines: Json[] = [];
  const router = await startTestRouter({}, (line) => void lines.push(JSON.parse(line) as Json));
  try {
    for (const headers of [{ traceparent: PARENT }, {}]) {
      const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers } };
      const answer = await fetch(`${router.url}/v1/completions`, { ...init, body: JSON.stringify({ model: MODEL, prompt: 'x' }) });
      expect(answer.status).toBe(503);
    }
    const failed = lines.filter(({ msg }) => msg === 'a request failed');
    expect(failed.map(({ traceId }) => traceId)).toEqual([TRACE, undefined]);
  } finally {
    await router.stop(0);
  }
});
