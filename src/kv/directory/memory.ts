/**
 * The directory in this process's memory. An instance has a bit position (slot) in flat rows of bits; taking its slot away forgets all
 * that it held at once, and later calls clear the old bits a few rows at a time before the slot is given out again.
 */
import type { Clock } from '../../shared/index.ts';
import type { KvEvent, KvEventEnvelope, KvSnapshot, Tier } from '../events/event.ts';
import { hexNumber } from '../identity/names.ts';
import { Expectations } from './expectations.ts';
import { ChainWalk } from './match.ts';
import type { ApplyOutcome, Directory, DirectoryMatch, DirectoryStats } from './port.ts';
import { Slots } from './slots.ts';
import { BlockTable, KIND, type Kind } from './table.ts';

export interface MemoryDirectoryOptions {
  readonly clock: Clock;
  /** Blocks known of at most; then some that were not used lately are forgotten. Default 1,000,000. */
  readonly maxBlocks?: number;
  /** Instances known of at most, 1 to 16,384; one that is fenced gives way to a new one. Default 1024. */
  readonly maxInstances?: number;
  /** Expected (instance, block) pairs at most; those that end soonest are dropped first. Default 262,144. */
  readonly maxExpectations?: number;
}

interface InstanceState {
  readonly name: string;
  incarnation: string;
  /** Last applied event. */
  seq: number;
  /** -1 while nothing is known of it. */
  slot: number;
  /** What was known was thrown away, so events alone cannot tell what it holds; a snapshot must come first. */
  fenced: boolean;
  /** Earlier incarnations, newest first. */
  past: string[];
}

/** Earlier incarnations remembered per instance, so that late words of theirs are known to be late. */
const MAX_PAST = 8;
/** Rows cleared per applied update while a sweep runs. */
const SWEEP_ROWS = 64;
/** Tiers that are held by the instance itself; the others are shared and not of this directory. */
const KIND_OF_TIER: Partial<Record<Tier, Kind>> = { hbm: KIND.hbm, host: KIND.host };

export function memoryDirectory(options: MemoryDirectoryOptions): Directory {
  return new MemoryDirectory(options);
}

class MemoryDirectory implements Directory {
  readonly #clock: Clock;
  readonly #maxInstances: number;
  readonly #instances = new Map<string, InstanceState>();
  readonly #atSlot: (InstanceState | null)[] = [];
  readonly #slots = new Slots();
  readonly #walk = new ChainWalk();
  readonly #table: BlockTable;
  readonly #expectations: Expectations;
  /** Next row of the running sweep; -1 when none runs. */
  #sweepRow = -1;

  constructor(options: MemoryDirectoryOptions) {
    const { clock, maxBlocks = 1_000_000, maxInstances = 1024, maxExpectations = 262_144 } = options;
    checkInteger('maxBlocks', maxBlocks, 2 ** 28);
    checkInteger('maxInstances', maxInstances, 16_384);
    checkInteger('maxExpectations', maxExpectations, 2 ** 24);
    this.#clock = clock;
    this.#maxInstances = maxInstances;
    this.#table = new BlockTable(maxBlocks, (row) => this.#forgetExpected(row));
    this.#expectations = new Expectations({ maxPairs: maxExpectations, maxRows: maxBlocks }, (row, slot) => this.#clearExpected(row, slot));
  }

  apply(instance: string, update: KvEventEnvelope | KvSnapshot): ApplyOutcome {
    this.#expectations.expire(this.#clock.now());
    this.#sweep(SWEEP_ROWS);
    const state = this.#instances.get(instance) ?? this.#join(instance, update.incarnation);
    if (!state) return 'refused';
    if (state.past.includes(update.incarnation)) return 'stale';
    if (state.incarnation !== update.incarnation) this.#begin(state, update.incarnation);
    return 'tiers' in update ? this.#applySnapshot(state, update) : this.#applyEvent(state, update);
  }

  lookup(keys: ArrayLike<number>): DirectoryMatch[] {
    this.#expectations.expire(this.#clock.now());
    const { live } = this.#slots;
    const walk = this.#walk;
    walk.walk(this.#table, live, keys);
    const matches: DirectoryMatch[] = [];
    for (let word = 0; word < live.length; word++) {
      for (let left = live[word] as number; left !== 0; ) {
        const bit = 31 - Math.clz32(left);
        left &= ~(1 << bit);
        const slot = word * 32 + bit;
        const expected = walk.expected.depths[slot] as number;
        const state = this.#atSlot[slot];
        if (expected === 0 || !state) continue;
        const hbm = walk.hbm.depths[slot] as number;
        const host = walk.host.depths[slot] as number;
        matches.push({ instance: state.name, hbm, host, held: walk.held.depths[slot] as number, expected });
      }
    }
    return matches;
  }

  expect(instance: string, keys: ArrayLike<number>, ttlMs: number): void {
    const now = this.#clock.now();
    this.#expectations.expire(now);
    const slot = this.#instances.get(instance)?.slot ?? -1;
    if (slot < 0 || !(ttlMs > 0)) return;
    const rows: number[] = [];
    for (let index = 0; index < Math.min(keys.length, this.#expectations.maxPairs); index++) {
      const key = keys[index] as number;
      if (!isKeyNumber(key)) break;
      const row = this.#table.add(key);
      this.#table.set(row, KIND.expected, slot);
      rows.push(row);
    }
    if (rows.length > 0) this.#expectations.add(rows, slot, now + ttlMs);
  }

  fence(instance: string): void {
    const state = this.#instances.get(instance);
    if (!state) return;
    this.#retireSlot(state);
    state.fenced = true;
  }

  stats(): DirectoryStats {
    this.#expectations.expire(this.#clock.now());
    return {
      instances: this.#instances.size,
      blocks: this.#table.size,
      expectations: this.#expectations.size,
      evicted: this.#table.evicted,
    };
  }

  #applyEvent(state: InstanceState, { seq, event }: KvEventEnvelope): ApplyOutcome {
    if (seq <= state.seq) return 'stale';
    if (seq !== state.seq + 1 || state.fenced) return 'gap';
    if (state.slot < 0 || event.type === 'cleared') this.#giveSlot(state);
    state.seq = seq;
    this.#change(state.slot, event);
    return 'applied';
  }

  #applySnapshot(state: InstanceState, snapshot: KvSnapshot): ApplyOutcome {
    if (snapshot.seq < state.seq) return 'stale';
    this.#giveSlot(state);
    state.fenced = false;
    state.seq = snapshot.seq;
    for (const tier of Object.keys(KIND_OF_TIER) as Tier[]) {
      this.#change(state.slot, { type: 'stored', tier, keys: snapshot.tiers[tier] ?? [] });
    }
    return 'applied';
  }

  #change(slot: number, event: KvEvent): void {
    if (event.type === 'cleared') return;
    const kind = KIND_OF_TIER[event.tier];
    if (kind === undefined) return;
    for (const hex of event.keys) {
      const key = hexNumber(hex);
      if (!isKeyNumber(key)) continue;
      const row = event.type === 'stored' ? this.#table.add(key) : this.#table.find(key);
      if (row < 0) continue;
      if (event.type === 'stored') this.#table.set(row, kind, slot);
      else this.#table.unset(row, kind, slot);
      if (this.#table.has(row, KIND.expected, slot)) {
        this.#table.unset(row, KIND.expected, slot);
        this.#expectations.forget(row, slot);
      }
      this.#table.removeIfEmpty(row);
    }
  }

  #join(name: string, incarnation: string): InstanceState | null {
    if (this.#instances.size >= this.#maxInstances) {
      const idle = [...this.#instances.values()].find((state) => state.slot < 0);
      if (!idle) return null;
      this.#instances.delete(idle.name);
    }
    const state: InstanceState = { name, incarnation, seq: 0, slot: -1, fenced: false, past: [] };
    this.#instances.set(name, state);
    return state;
  }

  #begin(state: InstanceState, incarnation: string): void {
    this.#retireSlot(state);
    state.past = [state.incarnation, ...state.past].slice(0, MAX_PAST);
    state.incarnation = incarnation;
    state.seq = 0;
    state.fenced = false;
  }

  #retireSlot(state: InstanceState): void {
    if (state.slot < 0) return;
    this.#atSlot[state.slot] = null;
    this.#slots.retire(state.slot);
    state.slot = -1;
  }

  /** A fresh slot: nothing is held yet. */
  #giveSlot(state: InstanceState): void {
    this.#retireSlot(state);
    let slot = this.#slots.take();
    if (slot < 0) {
      this.#makeSlots();
      slot = this.#slots.take();
    }
    state.slot = slot;
    this.#atSlot[slot] = state;
  }

  /** Clears dead slots if they are many, else doubles the number of slots, so that neither happens often. */
  #makeSlots(): void {
    if (this.#slots.dead * 4 < this.#slots.words * 32) {
      this.#slots.widen();
      this.#table.widen(this.#slots.words);
      return;
    }
    if (this.#sweepRow >= 0) this.#sweep(Number.POSITIVE_INFINITY);
    this.#sweep(Number.POSITIVE_INFINITY);
  }

  /** Goes on with the sweep of dead slots, or starts one, by at most `rows` rows. */
  #sweep(rows: number): void {
    if (this.#sweepRow < 0) {
      if (this.#slots.dead === 0 || !this.#slots.startSweep()) return;
      this.#sweepRow = 0;
    }
    const end = Math.min(this.#table.rows, this.#sweepRow + rows);
    for (; this.#sweepRow < end; this.#sweepRow++) this.#table.scrub(this.#sweepRow, this.#slots.sweeping);
    if (this.#sweepRow < this.#table.rows) return;
    this.#slots.endSweep();
    this.#sweepRow = -1;
  }

  #clearExpected(row: number, slot: number): void {
    this.#table.unset(row, KIND.expected, slot);
    this.#table.removeIfEmpty(row);
  }

  /** A row goes: its expectations go with it. */
  #forgetExpected(row: number): void {
    for (let word = 0; word < this.#table.words; word++) {
      for (let left = this.#table.bits(row, KIND.expected, word); left !== 0; ) {
        const bit = 31 - Math.clz32(left);
        left &= ~(1 << bit);
        this.#expectations.forget(row, word * 32 + bit);
      }
    }
  }
}

function isKeyNumber(key: number): boolean {
  return Number.isSafeInteger(key) && key >= 0;
}

function checkInteger(name: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new RangeError(`${name}: expected an integer from 1 to ${most}, got ${value}`);
}
