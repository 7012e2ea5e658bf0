import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Cancel, FakeClock } from '../../shared/index.ts';
import { createLogger } from '../log.ts';
import { SpanExporter } from './exporter.ts';
import { Receiver } from './receiver.fixture.ts';
import type { Span } from './span.ts';

const PATIENCE_MS = 10_000;

class WatchedClock extends FakeClock {
  readonly timers = new Set<symbol>();

  override after(ms: number, run: () => void): Cancel {
    const timer = Symbol('timer');
    this.timers.add(timer);
    const cancel = super.after(ms, () => {
      this.timers.delete(timer);
      run();
    });
    return () => {
      this.timers.delete(timer);
      cancel();
    };
  }
}

let receiver: Receiver;
let clock: WatchedClock;
let lines: { msg: string; level: string; why?: string }[];
const exporters: SpanExporter[] = [];

beforeEach(() => {
  receiver = new Receiver();
  clock = new WatchedClock();
  lines = [];
});

afterEach(async () => {
  await receiver.close();
  for (const exporter of exporters.splice(0)) await exporter.close(0);
});

function exporterTo(endpoint: string): SpanExporter {
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  const log = createLogger({ name: 'router', level: 'info', format: 'json', destination });
  const exporter = new SpanExporter({ endpoint, resource: { 'service.name': 'chat-router' }, clock, random: () => 0, log });
  exporters.push(exporter);
  return exporter;
}

async function listening(): Promise<SpanExporter> {
  return exporterTo(await receiver.listen());
}

let count = 0;

function spans(number: number): Span[] {
  return Array.from({ length: number }, () => {
    count += 1;
    const id = count.toString(16).padStart(16, '0');
    const named = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', id, parentId: null, name: 'chat m', kind: 'server' } as const;
    return { ...named, startsAt: 1, endsAt: 2, attributes: {}, events: [], error: null };
  });
}

/** The clock goes on while it is waited. */
function until(condition: () => boolean, stepMs = 0): Promise<void> {
  const look = () => {
    if (condition()) return;
    clock.advance(stepMs);
    throw new Error(`it did not come about: ${JSON.stringify({ exports: receiver.exports, lines })}`);
  };
  return vi.waitFor(look, { timeout: PATIENCE_MS, interval: 2 });
}

function counts({ exported, dropped, queued }: SpanExporter) {
  return { exported, dropped: { ...dropped }, queued };
}

const NONE = { full: 0, refused: 0, unreachable: 0 };

describe('SpanExporter', () => {
  it('gathers for a second, and sends in one export what came', async () => {
    const exporter = await listening();
    exporter.offer(spans(2));
    clock.advance(500);
    exporter.offer(spans(3));
    clock.advance(499);
    expect(counts(exporter)).toEqual({ exported: 0, dropped: NONE, queued: 5 });
    clock.advance(1);
    await until(() => exporter.exported === 5);
    expect(receiver).toMatchObject({ exports: [5], faults: [] });
    expect(receiver.spans[0]).toMatchObject({ name: 'chat m', resource: { 'service.name': 'chat-router' } });
    expect(counts(exporter)).toEqual({ exported: 5, dropped: NONE, queued: 0 });
    exporter.offer(spans(1));
    await until(() => exporter.exported === 6, 100);
    expect(receiver.exports).toEqual([5, 1]);
  });

  it('does not wait when there is a batch, and sends one after the other', async () => {
    const exporter = await listening();
    exporter.offer(spans(200));
    exporter.offer(spans(400));
    clock.advance(0);
    await until(() => exporter.exported === 512);
    expect([receiver.exports, exporter.queued]).toEqual([[128, 128, 128, 128], 88]);
    await until(() => exporter.exported === 600, 100);
    expect(receiver.exports).toEqual([128, 128, 128, 128, 88]);
  });

  it('tries again what may pass, when it was told to or later and later', async () => {
    const exporter = await listening();
    const replies = [{ status: 503 }, { status: 429, headers: { 'retry-after': '3' } }, { status: 200 }];
    receiver.reply = () => replies.shift() ?? { status: 500 };
    exporter.offer(spans(4));
    clock.advance(1_000);
    await until(() => receiver.exports.length === 2, 100);
    const from = clock.now();
    await until(() => exporter.exported === 4, 100);
    expect(clock.now() - from).toBeGreaterThanOrEqual(3_000);
    expect(receiver.exports).toEqual([4, 4, 4]);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      ['warn', 'spans cannot be sent to the collector; requests go on, spans that have no room are dropped'],
      ['info', 'spans reach the collector again'],
    ]);
  });

  it('drops at once what the collector will never take, and says why', async () => {
    const exporter = await listening();
    receiver.reply = () => ({ status: 400, body: 'bad span' });
    exporter.offer(spans(3));
    await until(() => exporter.queued === 0, 100);
    expect(counts(exporter)).toEqual({ exported: 0, dropped: { ...NONE, refused: 3 }, queued: 0 });
    expect(lines).toMatchObject([{ level: 'warn', msg: 'the collector refused spans', why: 'it answered 400: bad span' }]);
    receiver.reply = () => ({ status: 200, body: '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too old"}}' });
    exporter.offer(spans(3));
    await until(() => exporter.queued === 0, 100);
    expect(counts(exporter)).toEqual({ exported: 2, dropped: { ...NONE, refused: 4 }, queued: 0 });
    expect(receiver.exports).toEqual([3, 3]);
  });

  it('drops a batch that the collector does not answer, and counts what found no room meanwhile', async () => {
    const exporter = await listening();
    receiver.reply = () => null;
    exporter.offer(spans(128));
    await until(() => receiver.exports.length === 1, 1);
    for (let n = 0; n < 40; n += 1) exporter.offer(spans(100));
    expect(counts(exporter)).toEqual({ exported: 0, dropped: { ...NONE, full: 100 }, queued: 4_028 });
    for (let tries = 1; tries <= 4; tries += 1) {
      // Slowly: what is measured is that nobody answers, not that the way there took long.
      await until(() => receiver.exports.length === tries, 10);
      clock.advance(5_000);
    }
    await until(() => exporter.dropped.unreachable === 128);
    expect(lines.map(({ why }) => why)).toEqual(['no answer within 5000 ms']);
    receiver.reply = () => ({ status: 200 });
    await until(() => exporter.queued === 0, 100);
    expect(counts(exporter)).toEqual({ exported: 3_900, dropped: { full: 100, refused: 0, unreachable: 128 }, queued: 0 });
  });

  it('finds a collector that was away from the start', async () => {
    const endpoint = await receiver.listen();
    await receiver.close();
    const exporter = exporterTo(endpoint);
    exporter.offer(spans(2));
    await until(() => exporter.dropped.unreachable === 2, 500);
    expect(lines).toHaveLength(1);
    receiver = new Receiver();
    await receiver.listen(Number(new URL(endpoint).port));
    exporter.offer(spans(2));
    await until(() => exporter.exported === 2, 500);
    expect(lines).toHaveLength(2);
  });

  it('sends what is left when it closes, once', async () => {
    const exporter = await listening();
    exporter.offer(spans(300));
    await exporter.close(2_000);
    expect([receiver.exports, counts(exporter)]).toEqual([[128, 128, 44], { exported: 300, dropped: NONE, queued: 0 }]);
    exporter.offer(spans(1));
    expect(counts(exporter)).toEqual({ exported: 300, dropped: { ...NONE, full: 1 }, queued: 0 });
  });

  it('does not wait for ever for a collector when it closes', async () => {
    const exporter = await listening();
    receiver.reply = () => null;
    exporter.offer(spans(300));
    const closed = exporter.close(2_000);
    await until(() => receiver.exports.length === 1);
    clock.advance(2_000);
    await closed;
    await until(() => exporter.queued === 0);
    expect(counts(exporter)).toEqual({ exported: 0, dropped: { ...NONE, unreachable: 300 }, queued: 0 });
  });

  it('leaves no timer behind when it closes, which would keep the process', async () => {
    const exporter = await listening();
    exporter.offer(spans(1));
    await exporter.close(2_000);
    expect([exporter.exported, clock.timers.size]).toEqual([1, 0]);
  });

  it('cuts a wait short when it closes', async () => {
    const exporter = await listening();
    receiver.reply = () => ({ status: 503, headers: { 'retry-after': '30' } });
    exporter.offer(spans(1));
    await until(() => receiver.exports.length === 1, 100);
    const before = clock.now();
    await exporter.close(2_000);
    expect(clock.now()).toBe(before);
    expect(counts(exporter)).toEqual({ exported: 0, dropped: { ...NONE, unreachable: 1 }, queued: 0 });
  });
});
