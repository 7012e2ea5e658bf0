import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FREE_COSTS } from '../../../api/facts/index.ts';
import { FakeClock, SluiceError } from '../../../shared/index.ts';
import { openEndpoint } from '../../instances/endpoint.ts';
import { Instance } from '../../instances/instance.ts';
import { type DrainOutcome, Mover } from './mover.ts';

const RESERVED = { prefillTokens: 0, contextTokens: 10 };

let clock: FakeClock;
let list: Instance[];
let flights: FakeFlight[];
let mover: Mover;
let emptying: (one: Instance) => Promise<void>;
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

const NO_ROOM = { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 };
const QUIET = { waiting: 0, pendingPrefillTokens: 0, contextTokens: 0, kv: { hbm: NO_ROOM, host: NO_ROOM }, leases: 0, draining: false };

/** As its feed would, with requests of this router and of others. */
function report(one: Instance, emptied: boolean, others = 0): void {
  one.reported({ ...QUIET, running: one.inFlight + others, emptied, costs: FREE_COSTS });
}

beforeEach(() => {
  clock = new FakeClock();
  list = [];
  flights = [];
  emptying = async (one) => report(one, true);
  mover = new Mover({ clock, instances: () => list, flights: () => flights, empty: (one) => emptying(one) });
});
afterEach(() => {
  for (const one of opened.splice(0)) one.closeEndpoints();
});

/** What was settled is told in later turns. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve();
}

function ordered(deadlineMs = 60_000, others = 0) {
  const source = instance();
  report(source, false, others);
  const flight = new FakeFlight(source);
  list = [source];
  flights = [flight];
  const drained: { outcome: DrainOutcome | null; error: Error | null } = { outcome: null, error: null };
  mover.drain(source, deadlineMs).then(
    (outcome) => (drained.outcome = outcome),
    (error: Error) => (drained.error = error),
  );
  /** 700 ms, in which the instance says again and again how loaded it is. */
  const soon = async (emptied = true, left = 0) => {
    for (let look = 0; look < 7; look++) {
      await turns();
      if (source.load !== null) report(source, emptied, left);
      clock.advance(100);
    }
    await turns();
    return drained;
  };
  return { source, flight, drained, soon };
}

describe('an order to drain', () => {
  it('tries again until the stream can go, and ends then', async () => {
    const { source, flight, soon } = ordered();
    expect(await soon()).toEqual({ outcome: null, error: null });
    const { asked } = flight;
    expect(asked).toBeGreaterThan(1);
    flight.goes = true;
    expect((await soon()).outcome).toMatchObject({ instance: 'decode-0', others: 0, left: 0 });
    expect(source.emptied).toBe(true);
  });

  it('waits for what other routers have there', async () => {
    const { flight, soon } = ordered(60_000, 2);
    flight.goes = true;
    expect((await soon(true, 1)).outcome).toBeNull();
    expect(flight.decodeInstance).toBeNull();
    expect((await soon()).outcome).toMatchObject({ others: 2, left: 0 });
  });

  it('gives other routers the time to hear of it', async () => {
    const { source, flight } = ordered();
    flight.end();
    report(source, true);
    const drained = mover.drain(source, 60_000);
    let over = false;
    void drained.then(() => (over = true));
    await turns();
    clock.advance(100);
    await turns();
    expect(over).toBe(false);
    clock.advance(700);
    expect((await drained).left).toBe(0);
  });

  it('ends with its time, and says what is left', async () => {
    const { soon } = ordered(1_000);
    expect((await soon(true, 2)).outcome).toBeNull();
    expect((await soon(true, 2)).outcome).toMatchObject({ left: 3 });
  });

  it('ends when the instance is gone, and is not meant for one that comes under its id', async () => {
    const { source, soon } = ordered();
    await soon();
    const next = instance('b');
    report(next, false);
    const other = new FakeFlight(next);
    source.lost('removed from the list');
    list = [next];
    flights.push(other);
    expect((await soon()).outcome).toMatchObject({ left: null });
    await soon();
    expect(other.asked).toBe(0);
  });

  it('goes on while the feed of the instance is down', async () => {
    const { source, flight, soon } = ordered();
    await soon();
    source.lost('it fell silent');
    expect((await soon()).outcome).toBeNull();
    report(source, true);
    flight.goes = true;
    expect((await soon()).outcome).toMatchObject({ left: 0 });
  });

  it('ends when it is taken back', async () => {
    const { flight, soon } = ordered();
    await soon();
    expect((await soon(false)).outcome).toMatchObject({ left: 1 });
    const { asked } = flight;
    await soon(false);
    expect(flight.asked).toBe(asked);
  });

  it('ends when it is taken back before anybody looked', async () => {
    const { source, soon } = ordered();
    await turns();
    mover.wake();
    report(source, false);
    expect((await soon(false)).outcome).toMatchObject({ left: 1 });
  });

  it('is not taken back by what the instance said before it was told', async () => {
    emptying = async () => undefined;
    const { flight, soon } = ordered();
    expect((await soon(false)).outcome).toBeNull();
    expect(flight.asked).toBe(0);
    flight.goes = true;
    expect((await soon()).outcome).toMatchObject({ left: 0 });
  });

  it('is not taken back by one who did it just before', async () => {
    const { source, flight, drained, soon } = ordered();
    await turns();
    clock.advance(50);
    report(source, false);
    clock.advance(100);
    await turns();
    expect(drained.outcome).toBeNull();
    flight.goes = true;
    expect((await soon()).outcome).toMatchObject({ left: 0 });
  });

  it('is refused where the instance cannot be told', async () => {
    emptying = async () => {
      throw new SluiceError('unavailable', 'no');
    };
    const { soon } = ordered();
    expect((await soon(false)).error).toMatchObject({ code: 'unavailable', message: 'no' });
  });

  it('ends with the router, and none is taken after that', async () => {
    const { source, soon } = ordered();
    mover.close();
    expect((await soon()).error).toMatchObject({ code: 'unavailable' });
    await expect(mover.drain(source, 1_000)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is refused beyond what may be under way', async () => {
    const { source } = ordered(200);
    const more = Array.from({ length: 1023 }, () => mover.drain(source, 200));
    await expect(mover.drain(source, 200)).rejects.toMatchObject({ code: 'queue_full' });
    clock.advance(200);
    expect(await Promise.all(more)).toHaveLength(1023);
    const again = mover.drain(source, 200);
    clock.advance(200);
    expect((await again).left).toBe(1);
  });

  it('moves a few of many at a time', () => {
    const { source } = ordered();
    report(source, true);
    const leaving = Array.from({ length: 6 }, () => new FakeFlight(source));
    for (const flight of leaving) flight.underWay = true;
    flights = leaving;
    clock.advance(50);
    expect(leaving.map(({ asked }) => asked)).toEqual([1, 1, 1, 1, 0, 0]);
  });
});
