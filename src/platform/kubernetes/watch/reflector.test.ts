/** What a real API server does not say: broken lines, lines without end, errors in the stream, watches that end at once. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { CONFIG_MAPS, type ConfigMap } from '../builtin.ts';
import { KubernetesClient } from '../client.ts';
import type { Transport, WireResponse } from '../transport.ts';
import { readLines } from './lines.ts';
import { Reflector, type ReflectorNotice } from './reflector.ts';

const object = (name: string, resourceVersion: string) => ({ metadata: { name, namespace: 'n', uid: `u-${name}`, resourceVersion } });
const line = (type: string, value: unknown) => `${JSON.stringify({ type, object: value })}\n`;
const added = (name: string, version: string) => line('ADDED', { ...object(name, version), kind: 'ConfigMap' });

/** A list of `names`, then a watch for each script; the last one stays open. */
function scene(names: readonly string[], ...scripts: readonly string[]) {
  const clock = new FakeClock();
  const requests: string[] = [];
  let watches = 0;
  const transport: Transport = {
    async send({ path, signal }): Promise<WireResponse> {
      requests.push(path);
      if (!path.includes('watch=true')) {
        const items = names.map((name) => object(name, '5'));
        return {
          status: 200,
          retryAfter: null,
          body: ReadableStream.from([Buffer.from(JSON.stringify({ metadata: { resourceVersion: '5' }, items }))]),
        };
      }
      const script = scripts[watches];
      watches += 1;
      return {
        status: 200,
        retryAfter: null,
        body: stream(script ?? '', script === undefined || watches === scripts.length ? signal : null),
      };
    },
    close: () => {},
  };
  const notices: ReflectorNotice[] = [];
  const client = new KubernetesClient({ transport, fieldManager: 'sluice', clock, random: () => 0 });
  const reflector = new Reflector<ConfigMap>({ client, resource: CONFIG_MAPS, clock, random: () => 0, notice: (one) => notices.push(one) });
  const lists = () => requests.filter((path) => !path.includes('watch=true')).length;
  return { clock, reflector, notices, requests, lists, broken: () => notices.flatMap((one) => (one.kind === 'broken' ? [one] : [])) };
}

async function* stream(script: string, openUntil: AbortSignal | null): AsyncGenerator<Uint8Array> {
  if (script !== '') yield Buffer.from(script);
  if (openUntil === null || openUntil.aborted) return;
  await new Promise<void>((resolve) => openUntil.addEventListener('abort', () => resolve(), { once: true }));
}

/** Until `holds`, with nothing but turns of the event loop. */
async function turns(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 200 && !holds(); turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(holds()).toBe(true);
}

describe('a watch', () => {
  it('goes on from the last version seen when it ends, and pauses when it ended at once', async () => {
    const { clock, reflector, requests, broken, lists } = scene(
      ['a'],
      `${added('b', '8')}${line('BOOKMARK', { metadata: { resourceVersion: '9' } })}`,
      '',
    );
    reflector.start();
    await turns(() => broken().length === 1);
    expect(broken()).toMatchObject([{ next: 'watch', why: 'the watch ended at once', waitMs: 200 }]);
    clock.advance(200);
    await turns(() => reflector.state().watches === 2);
    expect(requests.at(-1)).toContain('resourceVersion=9');
    expect(lists()).toBe(1);
    expect([...reflector.store.keys()]).toEqual(['n/a', 'n/b']);
    await reflector.stop();
  });

  it.each([
    ['that cannot be read', '{"type":"ADDED","object":{"meta\n', /cannot be read/],
    ['of a type that nobody knows', line('RENAMED', {}), /an event of type RENAMED/],
    ['whose object is another kind', line('ADDED', { ...object('x', '6'), kind: 'Secret' }), /no ConfigMap/],
    ['with an error that says expired', line('ERROR', { kind: 'Status', code: 410, message: 'too old' }), /too old/],
  ])('lists again after a line %s', async (_what, script, why) => {
    const { clock, reflector, lists, broken } = scene(['a'], script, '');
    reflector.start();
    await turns(() => broken().length === 1);
    expect(broken()).toMatchObject([{ next: 'list', why: expect.stringMatching(why) }]);
    expect(reflector.state()).toMatchObject({ watching: false, synced: true, error: expect.stringMatching(why) });
    clock.advance(200);
    await turns(() => reflector.state().watching);
    expect(lists()).toBe(2);
    await reflector.stop();
  });

  it('watches again from where it was after another error in the stream', async () => {
    const { reflector, broken } = scene(['a'], `${added('b', '8')}${line('ERROR', { code: 500, message: 'etcd is away' })}`, '');
    reflector.start();
    await turns(() => broken().length === 1);
    expect(broken()).toMatchObject([{ next: 'watch', why: 'etcd is away' }]);
    await reflector.stop();
  });

  it('lists again after a line without end', async () => {
    const { reflector, broken } = scene(['a'], 'x'.repeat(17 * 1024 * 1024), '');
    reflector.start();
    await turns(() => broken().length === 1);
    expect(broken()).toMatchObject([{ next: 'list', why: 'a line of more than 16777216 bytes' }]);
    await reflector.stop();
  });

  it('that is silent for too long is broken', async () => {
    const { clock, reflector, broken } = scene(['a'], added('b', '8'));
    reflector.start();
    await turns(() => reflector.store.size === 2);
    clock.advance(149_999);
    expect(reflector.state().watching).toBe(true);
    clock.advance(1);
    await turns(() => broken().length === 1);
    expect(broken()).toMatchObject([{ next: 'watch', why: 'the API server was silent for 150000 ms' }]);
    await reflector.stop();
  });

  it('waits longer each time while nothing works', async () => {
    const { clock, reflector, broken } = scene(['a'], 'bad\n', 'bad\n', 'bad\n', 'bad\n', '');
    reflector.start();
    for (let time = 1; time <= 4; time += 1) {
      await turns(() => broken().length === time);
      clock.advance(broken().at(-1)?.waitMs ?? 0);
    }
    expect(broken().map(({ waitMs }) => waitMs)).toEqual([200, 400, 800, 1600]);
    await turns(() => reflector.state().watching);
    await reflector.stop();
  });
});

describe('lines', () => {
  it('come out whole, however they were cut', async () => {
    const text = fc.array(fc.string({ unit: 'binary' }).map((one) => one.replaceAll('\n', '')));
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), async (lines, sizes) => {
        const bytes = Buffer.from(lines.map((one) => `${one}\n`).join(''));
        const chunks: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        const read: string[] = [];
        for await (const one of readLines(ReadableStream.from(chunks), 1_000_000)) read.push(one);
        expect(read).toEqual(lines.map((one) => Buffer.from(one).toString('utf8')));
      }),
    );
  });
});
