/** Whatever the wire loses, doubles, delays or brings in another order: in the end a follower knows exactly what is held. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FakeClock } from '../../shared/index.ts';
import { memoryDirectory } from '../directory/memory.ts';
import type { ApplyOutcome } from '../directory/port.ts';
import { hexNumber } from '../identity/names.ts';
import { encodeMessage } from './codec.ts';
import type { KvEventEnvelope, KvSnapshot } from './event.ts';
import { Follower } from './follower.ts';
import { TELLER_LIMITS, Teller } from './teller.ts';
import type { Reader, Wire } from './wire.ts';

/** What happens to the next message: 0 it arrives, 1 it is lost, 2 it comes twice, 3 it comes after the next one, 4 its sender hears that it failed. */
type Fate = 0 | 1 | 2 | 3 | 4;

class BadWire implements Wire {
  isUp = true;
  fates: Fate[] = [];
  readonly #readers = new Set<Reader>();
  readonly #beats = new Set<(instance: string, message: Uint8Array) => void>();
  readonly #asks = new Set<() => void>();
  readonly #changes = new Set<() => void>();
  #late: (() => void)[] = [];

  onChange(listener: () => void): () => void {
    this.#changes.add(listener);
    return () => this.#changes.delete(listener);
  }

  toggle(): void {
    this.isUp = !this.isUp;
    for (const listener of this.#changes) listener();
  }

  async append(instance: string, message: Uint8Array): Promise<void> {
    const deliver = () => {
      for (const reader of this.#readers) reader.message(instance, message);
    };
    const fate = this.isUp ? (this.fates.shift() ?? 0) : 4;
    if (fate === 3) {
      this.#late.push(deliver);
      return;
    }
    if (fate === 0 || fate === 2) deliver();
    if (fate === 2) deliver();
    this.settle();
    if (fate === 4) throw new Error('no answer');
  }

  /** What is late comes now. */
  settle(): void {
    for (const late of this.#late.splice(0)) late();
  }

  read(reader: Reader): () => void {
    this.#readers.add(reader);
    reader.anew();
    return () => this.#readers.delete(reader);
  }

  beat(instance: string, message: Uint8Array): void {
    if ((this.fates.shift() ?? 0) === 1) return;
    for (const listener of this.#beats) listener(instance, message);
  }

  onBeat(listener: (instance: string, message: Uint8Array) => void): () => void {
    this.#beats.add(listener);
    return () => this.#beats.delete(listener);
  }

  ask(): void {
    if ((this.fates.shift() ?? 0) === 1) return;
    for (const listener of this.#asks) listener();
  }

  onAsk(_instance: string, listener: () => void): () => void {
    this.#asks.add(listener);
    return () => this.#asks.delete(listener);
  }
}

const KEYS = Array.from({ length: 12 }, (_, index) => (index + 1).toString(16).padStart(13, '0').padEnd(32, '0'));

class Engine {
  readonly held = new Set<string>();
  incarnation = 1;
  seq = 0;
  listener: ((envelope: KvEventEnvelope) => void) | null = null;

  snapshot(): KvSnapshot {
    return { incarnation: `${this.incarnation}`, seq: this.seq, tiers: { hbm: [...this.held] } };
  }

  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void {
    this.listener = listener;
    return () => {
      this.listener = null;
    };
  }

  load(): unknown {
    return null;
  }

  flip(key: string): void {
    const type = this.held.has(key) ? 'removed' : 'stored';
    if (type === 'stored') this.held.add(key);
    else this.held.delete(key);
    this.seq += 1;
    this.listener?.({ incarnation: `${this.incarnation}`, seq: this.seq, event: { type, tier: 'hbm', keys: [key] } });
  }

  restart(): void {
    this.incarnation += 1;
    this.seq = 0;
    this.held.clear();
  }
}

type Act = { readonly flip: number } | { readonly wait: number } | 'restart' | 'cut' | 'fence';

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ flip: fc.nat(KEYS.length - 1) }) },
  { weight: 4, arbitrary: fc.record({ wait: fc.integer({ min: 1, max: 2_000 }) }) },
  { weight: 1, arbitrary: fc.constantFrom('restart' as const, 'cut' as const, 'fence' as const) },
);
const fate = fc.oneof({ weight: 3, arbitrary: fc.constant<Fate>(0) }, { weight: 2, arbitrary: fc.constantFrom<Fate>(1, 2, 3, 4) });

/** Lets promises and immediates run. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

it('knows in the end what is held, whatever happened to messages on the way', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 40 }), fc.array(fate, { maxLength: 60 }), async (acts, fates) => {
      const clock = new FakeClock();
      const wire = new BadWire();
      const engine = new Engine();
      const directory = memoryDirectory({ clock, maxBlocks: 1_000, maxInstances: 8 });
      const common = { wire, clock, random: () => 0 };
      const tell = () =>
        new Teller({ ...common, life: { instance: 'a', incarnation: `${engine.incarnation}` }, source: engine, limits: TELLER_LIMITS });
      let teller = tell();
      const heard = new Set<string>();
      const update = (instance: string, told: KvEventEnvelope | KvSnapshot) => {
        heard.add(told.incarnation);
        return directory.apply(instance, told);
      };
      const follower = new Follower({ ...common, listener: { update } });
      wire.fates = [...fates];
      const pass = async (ms: number) => {
        for (let passed = 0; passed < ms; passed += 50) {
          clock.advance(50);
          await turn();
        }
      };
      for (const one of acts) {
        if (one === 'cut') wire.toggle();
        else if (one === 'fence') {
          directory.fence('a');
          follower.want('a');
        } else if (one === 'restart') {
          teller.stop();
          // Nobody can tell late words of a life that was never heard of from those of a new one.
          if (!heard.has(`${engine.incarnation}`)) wire.settle();
          engine.restart();
          teller = tell();
        } else if ('flip' in one) engine.flip(KEYS[one.flip] ?? '');
        else await pass(one.wait);
        if (clock.now() % 3 === 0) await turn();
      }
      if (!wire.isUp) wire.toggle();
      wire.fates = [];
      const life = { instance: 'a', incarnation: `${engine.incarnation}` };
      for (let rounds = 0; rounds < 20; rounds += 1) await pass(1_000);
      expect(follower.isTold(life)).toBe(true);
      const held = KEYS.filter((key) => directory.lookup([hexNumber(key)]).some((match) => match.held > 0));
      expect(held).toEqual(KEYS.filter((key) => engine.held.has(key)));
      teller.stop();
      follower.stop();
    }),
    { numRuns: 60, examples: [[[{ flip: 0 }, 'restart'], [3]]] },
  );
});

it('takes a snapshot only when all its parts came, in order', async () => {
  const clock = new FakeClock();
  const wire = new BadWire();
  const snapshots: KvSnapshot[] = [];
  const update = (_: string, told: KvEventEnvelope | KvSnapshot) => {
    if ('tiers' in told) snapshots.push(told);
    return 'applied' as const;
  };
  const follower = new Follower({ wire, clock, random: () => 0, listener: { update } });
  const part = (index: number, seq = 7, incarnation = '1') => {
    const [key = ''] = KEYS.slice(incarnation === '1' ? index : index + 3);
    const record = { kind: 'snapshot', incarnation, seq, part: index, parts: 3, tier: 'hbm', keys: [key] } as const;
    return wire.append('a', encodeMessage(incarnation, [record]));
  };
  for (const index of [1, 2, 0, 2]) await part(index);
  expect(snapshots).toEqual([]);
  await part(0);
  await part(1, 8);
  await part(1, 7, '2');
  for (const index of [1, 1, 2]) await part(index);
  expect(snapshots).toEqual([{ incarnation: '1', seq: 7, tiers: { hbm: KEYS.slice(0, 3) } }]);
  follower.stop();
});

interface Bed {
  readonly wire: BadWire;
  readonly engine: Engine;
  readonly follower: Follower;
  readonly life: { readonly instance: string; readonly incarnation: string };
  readonly pass: (ms: number) => Promise<void>;
}

function bedOf(): Bed {
  const clock = new FakeClock();
  const wire = new BadWire();
  const engine = new Engine();
  const directory = memoryDirectory({ clock });
  const life = { instance: 'a', incarnation: '1' };
  const common = { wire, clock, random: () => 0 };
  new Teller({ ...common, life, source: engine, limits: TELLER_LIMITS });
  const follower = new Follower({ ...common, listener: { update: (instance, update) => directory.apply(instance, update) } });
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.advance(50);
      await turn();
    }
  };
  return { wire, engine, follower, life, pass };
}

it('hears of what was not taken from the one that tells, before it has to ask', async () => {
  const { wire, engine, follower, life, pass } = bedOf();
  await pass(500);
  const { snapshots } = follower.stats;
  wire.fates = [4];
  engine.flip(KEYS[0] ?? '');
  await turn();
  expect(wire.fates).toEqual([]);
  await pass(500);
  expect(follower.stats).toMatchObject({ snapshots: snapshots + 1, gaps: 0 });
  expect(follower.isTold(life)).toBe(true);
});

it('counts on the log again while another source is ahead of it', async () => {
  const clock = new FakeClock();
  const wire = new BadWire();
  let outcome: ApplyOutcome = 'applied';
  const follower = new Follower({ wire, clock, random: () => 0, listener: { update: () => outcome } });
  const life = { instance: 'a', incarnation: '1' };
  const snapshot = (seq: number) =>
    wire.append('a', encodeMessage('1', [{ kind: 'snapshot', incarnation: '1', seq, part: 0, parts: 1, tier: 'hbm', keys: [] }]));
  await snapshot(5);
  wire.beat('a', Buffer.from(JSON.stringify({ incarnation: '1', seq: 5 })));
  expect(follower.isTold(life)).toBe(true);
  outcome = 'gap';
  await wire.append('a', encodeMessage('1', [{ kind: 'event', envelope: { incarnation: '1', seq: 8, event: { type: 'cleared' } } }]));
  outcome = 'stale';
  await snapshot(7);
  expect(follower.isTold(life)).toBe(false);
  await snapshot(8);
  expect(follower.isTold(life)).toBe(true);
  follower.stop();
});

it('forgets instances that are silent, so that there is room for others', async () => {
  const { wire, follower, life, pass } = bedOf();
  for (let gone = 0; gone < 5_000; gone += 1) wire.beat(`gone-${gone}`, Buffer.from(JSON.stringify({ incarnation: '1', seq: 1 })));
  await pass(2_000);
  expect(follower.isTold(life)).toBe(false);
  await pass(61_000);
  expect(follower.isTold(life)).toBe(true);
});
