import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { openEndpoint } from '../../instances/endpoint.ts';
import { Instance } from '../../instances/instance.ts';
import { type DrainOutcome, Mover } from './mover.ts';

const RESERVED = { prefillTokens: 0, contextTokens: 10 };

let clock: FakeClock;
let list: Instance[];
let flights: FakeFlight[];
let mover: Mover;
const opened: Instance[] = [];

/** A stream on an instance, which goes when `goes` is set. */
class FakeFlight {
  decodeInstance: Instance | null;
  readonly moveSource = null;
  goes = false;
  /** It is on its way from the first time on. */
  underWay = false;
  asked = 0;

  constructor(on: Instance) {
    this.decodeInstance = on;
    on.reserve(RESERVED);
  }

  move(): boolean {
    this.asked += 1;
    if (this.goes) this.end();
    return this.goes || this.underWay;
  }

  end(): void {
    this.decodeInstance?.release(RESERVED);
    this.decodeInstance = null;
  }
}

function instance(incarnation = 'a'): Instance {
  const one = new Instance({
    id: 'decode-0',
    incarnation,
    role: 'decode',
    published: openEndpoint('http://127.0.0.1:9', clock),
    now: 0,
  });
  opened.push(one);
  return one;
}

beforeEach(() => {
  clock = new FakeClock();
  list = [];
  flights = [];
  mover = new Mover({ clock, instances: () => list, flights: () => flights });
});
afterEach(() => {
  for (const one of opened.splice(0)) one.closeEndpoints();
});

function ordered(deadlineMs = 60_000) {
  const source = instance();
  const flight = new FakeFlight(source);
  list = [source];
  flights = [flight];
  const drained: { outcome: DrainOutcome | null; error: Error | null } = { outcome: null, error: null };
  const order = { instance: source, why: 'test', deadlineMs };
  mover.drain(order).then(
    (outcome) => (drained.outcome = outcome),
    (error: Error) => (drained.error = error),
  );
  const soon = async () => {
    clock.advance(100);
    // What was settled is told in later turns.
    for (let turn = 0; turn < 8; turn++) await Promise.resolve();
    return drained;
  };
  return { source, flight, order, soon };
}

describe('an order to drain', () => {
  it('tries again until the stream can go, and ends then', async () => {
    const { source, flight, soon } = ordered();
    expect(await soon()).toEqual({ outcome: null, error: null });
    const { asked } = flight;
    expect(asked).toBeGreaterThan(1);
    flight.goes = true;
    expect((await soon()).outcome).toMatchObject({ instance: 'decode-0', left: 0 });
    expect(source.emptied).toBe('test');
  });

  it('ends with its time, and says what is left', async () => {
    const { soon } = ordered(250);
    await soon();
    expect((await soon()).outcome).toBeNull();
    expect((await soon()).outcome).toMatchObject({ left: 1 });
  });

  it('ends when the instance is gone, and is not meant for one that comes under its id', async () => {
    const { source, flight, soon } = ordered();
    const next = instance('b');
    const other = new FakeFlight(next);
    list = [next];
    flights = [flight, other];
    expect((await soon()).outcome).toMatchObject({ left: 1 });
    await soon();
    expect([source.emptied, next.emptied, other.asked]).toEqual(['test', null, 0]);
  });

  it('ends when it is taken back', async () => {
    const { source, soon } = ordered();
    source.emptied = null;
    expect((await soon()).outcome).toMatchObject({ left: 1 });
  });

  it('ends with the router, and none is taken after that', async () => {
    const { order, soon } = ordered();
    mover.close();
    expect((await soon()).error).toMatchObject({ code: 'unavailable' });
    await expect(mover.drain(order)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is refused beyond what may be under way', async () => {
    const { order } = ordered(200);
    const more = Array.from({ length: 1023 }, () => mover.drain(order));
    await expect(mover.drain(order)).rejects.toMatchObject({ code: 'queue_full' });
    clock.advance(200);
    expect(await Promise.all(more)).toHaveLength(1023);
    const again = mover.drain(order);
    clock.advance(200);
    expect((await again).left).toBe(1);
  });

  it('moves a few of many at a time', () => {
    const { source } = ordered();
    const leaving = Array.from({ length: 6 }, () => new FakeFlight(source));
    for (const flight of leaving) flight.underWay = true;
    flights = leaving;
    clock.advance(50);
    expect(leaving.map(({ asked }) => asked)).toEqual([1, 1, 1, 1, 0, 0]);
  });
});
