/** Spans of real requests, as a collector gets them over HTTP, and what engines are told of them. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { explainRecord, type RequestRecord } from '../../src/router/index.ts';
import { type Received, Receiver } from '../../src/telemetry/traces/receiver.fixture.ts';
import { type Bed, type Fault, LONG_PROMPT, MODEL, recordAt, type Seen, startBed, until } from './router-fixture.ts';
import { NixlBed } from './router-nixl-fixture.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CLIENT = '00f067aa0ba902b7';
const TRACED = { traceparent: `00-${TRACE}-${CLIENT}-01`, tracestate: 'rojo=1' };
const COMPLETIONS = '/v1/completions';

let count = 0;

function prompt(): string {
  count += 1;
  return `Number ${count}. ${LONG_PROMPT}`;
}

/** Of one request, its own first; waits until the collector has them. */
async function spansOf(receiver: Receiver, requestId: string | null): Promise<Received[]> {
  const ofRequest = () => receiver.spans.find(({ attributes }) => attributes['sluice.request.id'] === requestId);
  await until(
    () => ofRequest() !== undefined,
    () => `spans of ${requestId}: ${JSON.stringify(receiver.faults)}`,
  );
  const request = ofRequest();
  const others = receiver.spans.filter((span) => span !== request && span.spanId.slice(0, -2) === request?.spanId.slice(0, -2));
  return request === undefined ? [] : [request, ...others];
}

function spanNamed(spans: readonly Received[], name: string, at = 0): Received {
  const span = spans.filter((one) => one.name === name)[at];
  if (span === undefined) throw new Error(`no span ${name} among ${spans.map((one) => one.name).join(', ')}`);
  return span;
}

/** Each within its parent, and none before its time. */
function expectNested(spans: readonly Received[]): void {
  const byId = new Map(spans.map((span) => [span.spanId, span]));
  expect(byId.size).toBe(spans.length);
  for (const { name, parentSpanId, start, end } of spans.slice(1)) {
    const parent = byId.get(parentSpanId ?? '');
    expect(parent, name).toBeDefined();
    if (parent) expect([name, start >= parent.start, end <= parent.end]).toEqual([name, true, true]);
  }
}

function headerOf(head: string, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)\r$`, 'mi').exec(head)?.[1];
}

function ms(from: bigint, to: bigint): number {
  return Number(to - from) / 1e6;
}

async function metric(bed: { readonly router: { readonly url: string } }, name: string): Promise<number> {
  const text = await (await fetch(`${bed.router.url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(name));
  return Number(line?.split(' ').at(-1));
}

describe('engines of ours', () => {
  const receiver = new Receiver();
  let bed: Bed;

  // Reports of load are up to 200 ms old, and a prefill instance that seems to be busy would be passed over.
  beforeAll(async () => {
    const tracing = { endpoint: await receiver.listen(), serviceName: 'chat-router', serviceNamespace: 'team' };
    bed = await startBed({ prefill: 4, decode: 2, config: { tracing } });
    await bed.ready();
  });
  afterAll(async () => {
    await bed.close();
    await receiver.close();
    expect(receiver.faults).toEqual([]);
  });
  afterEach(() => {
    for (const { gate } of bed.engines) gate.fault = () => ({ kind: 'pass' });
  });

  interface Asked {
    readonly id: string;
    readonly spans: readonly Received[];
    readonly record: RequestRecord;
    /** What the engines got of it. */
    readonly heads: readonly string[];
  }

  function headsOf(id: string): string[] {
    return bed.engines.flatMap(({ gate }) => gate.seen.map(({ head }) => head)).filter((head) => head.includes(id));
  }

  async function ask(headers: Readonly<Record<string, string>>, body: object = {}): Promise<Asked> {
    const fields = { model: MODEL, prompt: prompt(), max_tokens: 4, ignore_eos: true, ...body };
    const answer = await bed.post(COMPLETIONS, fields, headers);
    await answer.text();
    const id = answer.headers.get('x-request-id') ?? '';
    return { id, spans: await spansOf(receiver, id), record: await recordAt(bed.router.adminUrl, id), heads: headsOf(id) };
  }

  /** Over a pair: a prefill instance that is busy, or seems to be, is passed over, and asked again later. */
  async function askPair(headers: Readonly<Record<string, string>>, body: object = {}): Promise<Asked> {
    let asked = await ask(headers, body);
    await until(async () => {
      if (asked.record.attempts[0]?.decision.chosen.prefill !== null) return true;
      asked = await ask(headers, body);
      return false;
    });
    return asked;
  }

  /** The first leg of one request meets it, whichever leg that is; the router's own probes do not. */
  function strike(id: string, fault: Fault, leg: 'any' | 'whole' = 'any'): void {
    let struck = false;
    for (const { gate } of bed.engines) {
      gate.fault = (seen) => {
        if (struck || !seen.head.includes(id) || (leg === 'whole' && seen.leg !== 'whole')) return { kind: 'pass' };
        struck = true;
        return fault;
      };
    }
  }

  it('gives a traced client the whole way: admission, placement, prefill, decode with its first token, hand-off', async () => {
    const { spans, record, heads } = await askPair(TRACED, { stream: true });
    const [request] = spans as [Received];
    expectNested(spans);
    expect(spans.map(({ traceId }) => traceId)).toEqual(spans.map(() => TRACE));
    expect(request).toMatchObject({ name: `text_completion ${MODEL}`, kind: 'server', parentSpanId: CLIENT, error: null });
    expect(request.resource).toMatchObject({ 'service.name': 'chat-router', 'service.namespace': 'team' });
    expect(request.attributes).toMatchObject({
      'gen_ai.operation.name': 'text_completion',
      'gen_ai.request.model': MODEL,
      'gen_ai.usage.output_tokens': 4n,
      'gen_ai.response.finish_reasons': ['length'],
      'http.response.status_code': 200n,
      'sluice.outcome': 'ok',
    });
    expect(
      spans
        .slice(1)
        .map(({ name, kind }) => `${name} ${kind}`)
        .sort(),
    ).toEqual(['admission internal', 'decode client', 'hand-off internal', 'placement internal', 'prefill client'].sort());
    const { chosen } = record.attempts[0]?.decision ?? {};
    const placement = spanNamed(spans, 'placement');
    expect(placement.attributes).toMatchObject({ 'sluice.prefill': chosen?.prefill, 'sluice.decode': chosen?.decode });
    expect(placement.attributes['sluice.predicted.ttft_ms']).toBeCloseTo(chosen?.ttftMs ?? 0, 6);
    const [prefill, decode] = [spanNamed(spans, 'prefill'), spanNamed(spans, 'decode')];
    expect(ms(prefill.start, prefill.end)).toBeCloseTo(record.attempts[0]?.prefill?.ms ?? 0, 2);
    expect(ms(request.start, request.end)).toBeCloseTo(record.totalMs ?? 0, 2);
    expect(decode.start).toBe(prefill.end);
    expect(decode.events.map(({ name }) => name)).toEqual(['sluice.first_token']);
    expect(ms(request.start, decode.events[0]?.at ?? 0n)).toBeCloseTo(record.ttftMs ?? 0, 0);
    // Spans of the engines would be children of the legs'.
    const parents = [prefill, decode].map(({ spanId }) => `00-${TRACE}-${spanId}-01`);
    expect(heads.map((head) => headerOf(head, 'traceparent'))).toEqual(parents);
    expect(heads.map((head) => headerOf(head, 'tracestate'))).toEqual(['rojo=1', 'rojo=1']);
    expect(explainRecord(record)).toContain(`trace    ${TRACE}, span ${request.spanId}`);
  });

  it.each([{}, { traceparent: 'nonsense' }])('begins a trace where the client has none: %j', async (headers) => {
    const { spans, record, heads } = await ask(headers);
    expect(spans[0]).toMatchObject({ parentSpanId: null, traceId: record.traceId });
    expect(record.traceId).toMatch(/^[0-9a-f]{32}$/);
    for (const head of heads) expect(headerOf(head, 'traceparent')).toMatch(new RegExp(`^00-${record.traceId}-[0-9a-f]{16}-01$`));
  });

  it('makes no spans where the client makes none, and passes its word on', async () => {
    const traceparent = `00-${TRACE}-${CLIENT}-00`;
    const silent = await bed.post(COMPLETIONS, { model: MODEL, prompt: prompt(), max_tokens: 2 }, { traceparent });
    const id = silent.headers.get('x-request-id') ?? '';
    await ask({});
    expect(receiver.spans.filter(({ attributes }) => attributes['sluice.request.id'] === id)).toEqual([]);
    expect(await recordAt(bed.router.adminUrl, id)).toMatchObject({ traceId: TRACE, span: null });
    expect(headsOf(id).length).toBeGreaterThan(0);
    for (const head of headsOf(id)) expect(headerOf(head, 'traceparent')).toBe(traceparent);
  });

  it('shows an attempt that failed and the one that took its place', async () => {
    // Not a connection that breaks: the same leg may go over another one.
    strike('again-1', { kind: 'answer', text: 'HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}' });
    const { spans, heads, record } = await ask({ ...TRACED, 'x-request-id': 'again-1' }, { stream: true });
    expectNested(spans);
    expect(record.attempts).toHaveLength(2);
    const [first, second] = [spanNamed(spans, 'placement'), spanNamed(spans, 'placement', 1)];
    expect([first.attributes['sluice.attempt'], second.attributes['sluice.attempt']]).toEqual([1n, 2n]);
    const lost = spans.filter(({ error }) => error !== null);
    expect(lost.map(({ attributes, error }) => [attributes['sluice.attempt'], error])).toEqual([[1n, record.attempts[0]?.error]]);
    expect(spans[0]).toMatchObject({ error: null, events: [{ name: 'sluice.retry' }] });
    // Each leg that an engine was asked for is a span of its own.
    const legs = spans.filter(({ kind }) => kind === 'client').map(({ spanId }) => spanId);
    expect(new Set(heads.map((head) => headerOf(head, 'traceparent')?.split('-')[2]))).toEqual(new Set(legs));
    expect(heads).toHaveLength(legs.length);
  });

  it('shows a stream that was taken up by another instance', async () => {
    strike('cut-1', { kind: 'cut', bytes: 1_500 }, 'whole');
    const { spans, record } = await ask({ 'x-request-id': 'cut-1' }, { stream: true, max_tokens: 30 });
    expect(record).toMatchObject({ outcome: 'ok', outputTokens: 30 });
    expectNested(spans);
    expect(spans[0]).toMatchObject({ error: null, events: [{ name: 'sluice.resume' }], attributes: { 'sluice.resumes': 1n } });
    expect(Number(spans[0]?.events[0]?.attributes['sluice.tokens'])).toBeGreaterThan(0);
    expect(spanNamed(spans, 'decode').error).toContain('broke');
    expect(spanNamed(spans, 'decode', 1).error).toBeNull();
  });

  it('shows a stream that moved', async () => {
    const body = { model: MODEL, prompt: prompt(), max_tokens: 400, ignore_eos: true, stream: true };
    const answer = await bed.post(COMPLETIONS, body, { 'x-request-id': 'moved-1' });
    const isItsLeg = ({ head, leg }: Seen) => leg === 'whole' && head.includes('moved-1');
    const source = bed.engines.find(({ gate }) => gate.seen.some(isItsLeg));
    await bed.publish([source?.id ?? '']);
    await answer.text();
    await bed.publish();
    const spans = await spansOf(receiver, 'moved-1');
    expectNested(spans);
    const [move] = spans[0]?.events ?? [];
    expect(move).toMatchObject({ name: 'sluice.move', attributes: { 'sluice.move.from': source?.id, 'sluice.move.state': 'released' } });
    // The target was asked under the span of the leg that it took over.
    const target = bed.engine(String(move?.attributes['sluice.move.to']));
    const held = target.gate.seen.find(isItsLeg)?.head ?? '';
    expect(headerOf(held, 'traceparent')).toContain(spanNamed(spans, 'decode').spanId);
  });

  it('marks what failed with its error, and nothing that the client gave up', async () => {
    for (const { gate } of bed.engines) gate.fault = () => ({ kind: 'drop' });
    const { spans } = await ask(TRACED);
    expect(spans[0]?.error).toContain('engine_failed: ');
    expect(spans[0]?.attributes).toMatchObject({ 'error.type': 'engine_failed', 'http.response.status_code': 502n });
    expect(spans.filter(({ name }) => name === 'prefill' || name === 'decode').every(({ error }) => error !== null)).toBe(true);
    for (const { gate } of bed.engines) gate.fault = () => ({ kind: 'pass' });
    const leaving = new AbortController();
    const body = JSON.stringify({ model: MODEL, prompt: prompt(), max_tokens: 4_000, ignore_eos: true, stream: true });
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: leaving.signal };
    const answer = await fetch(`${bed.router.url}${COMPLETIONS}`, init);
    leaving.abort();
    const left = await spansOf(receiver, answer.headers.get('x-request-id'));
    expect(left.map(({ error }) => error)).toEqual(left.map(() => null));
    expect(left[0]?.attributes).toMatchObject({ 'sluice.outcome': 'cancelled' });
  });

  it('keeps the router’s own probes out, and counts what went out', async () => {
    await until(async () => (await metric(bed, 'sluice_router_spans_queued')) === 0);
    expect(await metric(bed, 'sluice_router_spans_exported_total')).toBe(receiver.spans.length);
    const requests = receiver.spans.filter(({ kind }) => kind === 'server');
    const text = await (await fetch(`${bed.router.url}/metrics`)).text();
    expect(text).toMatch(/^sluice_router_spans_dropped_total\{reason="full",model_name="[^"]+"\} 0$/m);
    const outcomes = [...text.matchAll(/^sluice_router_requests_total\{.*\} (\d+)$/gm)].reduce((sum, [, value]) => sum + Number(value), 0);
    // All requests but the one whose client did not want it traced.
    expect(requests).toHaveLength(outcomes - 1);
  });
});

it('vLLM: both legs are told of their spans, whose hand-off has no time of its own', async () => {
  const receiver = new Receiver();
  const bed = await NixlBed.start({ prefill: 1, decode: 1 }, { tracing: { endpoint: await receiver.listen() } });
  try {
    const { status, id } = await bed.post(COMPLETIONS, { prompt: bed.prompt(), max_tokens: 2 }, TRACED);
    expect(status).toBe(200);
    const spans = await spansOf(receiver, id);
    expectNested(spans);
    const [prefill, decode] = [spanNamed(spans, 'prefill'), spanNamed(spans, 'decode')];
    const legs = bed.engines.flatMap(({ served }) => served).filter(({ headers }) => headers['x-request-id'] === id);
    const told = legs.map(({ headers }) => headers['traceparent']);
    expect(told).toEqual([prefill, decode].map(({ spanId }) => `00-${TRACE}-${spanId}-01`));
    expect(decode.attributes['sluice.hand_off.blocks']).toBeGreaterThan(0);
    expect(spans.some(({ name }) => name === 'hand-off')).toBe(false);
  } finally {
    await bed.close();
    await receiver.close();
  }
  expect(receiver.faults).toEqual([]);
});

it('a share of 0 traces only what clients trace, and engines hear that the rest is not', async () => {
  const receiver = new Receiver();
  const bed = await startBed({ mixed: 1, config: { tracing: { endpoint: await receiver.listen(), sampleRatio: 0 } } });
  try {
    const ids: (string | null)[] = [];
    for (const headers of [{}, TRACED]) {
      const answer = await bed.post(COMPLETIONS, { model: MODEL, prompt: 'a', max_tokens: 1 }, headers);
      ids.push(answer.headers.get('x-request-id'));
      expect(answer.status).toBe(200);
    }
    await spansOf(receiver, ids[1] ?? null);
    expect(receiver.spans.filter(({ kind }) => kind === 'server').map(({ traceId }) => traceId)).toEqual([TRACE]);
    expect(await recordAt(bed.router.adminUrl, ids[0] ?? null)).toMatchObject({ traceId: null, span: null });
    const heads = bed.engines.flatMap(({ gate }) => gate.seen.map(({ head }) => head));
    const untraced = heads.find((head) => head.includes(ids[0] ?? '')) ?? '';
    expect(headerOf(untraced, 'traceparent')).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  } finally {
    await bed.close();
    await receiver.close();
  }
});

it('requests go on while the collector is away; what it does not get is counted, and the rest comes when it is back', async () => {
  const first = new Receiver();
  const endpoint = await first.listen();
  await first.close();
  const bed = await startBed({ mixed: 1, config: { tracing: { endpoint } } });
  const second = new Receiver();
  try {
    await bed.ready();
    const ask = () => bed.post(COMPLETIONS, { model: MODEL, prompt: 'a', max_tokens: 1 });
    // Four spans each, and 4,096 have room.
    for (let round = 0; round < 32; round += 1) {
      const answers = await Promise.all(Array.from({ length: 40 }, ask));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      await Promise.all(answers.map((answer) => answer.text()));
    }
    const full = await metric(bed, 'sluice_router_spans_dropped_total{reason="full"');
    expect(full).toBeGreaterThan(0);
    expect(full + (await metric(bed, 'sluice_router_spans_queued'))).toBeLessThanOrEqual(32 * 40 * 4);
    await second.listen(Number(new URL(endpoint).port));
    await until(() => second.spans.length > 0);
    const last = await ask();
    expect((await spansOf(second, last.headers.get('x-request-id')))[0]).toMatchObject({ kind: 'server' });
    await until(async () => (await metric(bed, 'sluice_router_spans_queued')) === 0);
    const exported = await metric(bed, 'sluice_router_spans_exported_total');
    const dropped = await Promise.all(
      ['full', 'refused', 'unreachable'].map((reason) => metric(bed, `sluice_router_spans_dropped_total{reason="${reason}"`)),
    );
    expect(exported).toBe(second.spans.length);
    expect(exported + dropped.reduce((sum, value) => sum + value, 0)).toBe((32 * 40 + 1) * 4);
  } finally {
    await bed.close();
    await second.close();
  }
  expect(second.faults).toEqual([]);
});
