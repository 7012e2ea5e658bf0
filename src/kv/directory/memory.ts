/**
 * The directory in this process's memory. An instance has a bit position (slot) in sets of owners; taking its slot away forgets all that it
 * held at once, and later calls clear the old bits a few sets at a time before the slot is given out again.
 */
import type { Clock } from '../../shared/index.ts';
import type { KvEvent, KvEventEnvelope, KvSnapshot, Tier } from '../events/event.ts';
import { hexNumber } from '../identity/names.ts';
import { BlockIndex, isKeyNumber } from './blockindex.ts';
import { Expectations } from './expectations.ts';
import { ChainWalk } from './match.ts';
import { KIND, type Kind } from './owners.ts';
import type { ApplyOutcome, Directory, DirectoryMatch, DirectoryStats, StoreReach } from './port.ts';
import { ScriptCells } from './scriptcells.ts';
import { checkInteger } from './shared/bounds.ts';
import { Slots } from './slots.ts';
import { StoreIndex } from './stores.ts';
import { WasmCells } from './wasmcells.ts';

export interface MemoryDirectoryOptions {
  readonly clock: Clock;
  /**
   * Blocks known of at most, 1 to 2^26; then some that were not used lately are forgotten. Takes 23 bytes of memory for each at most, 18 of
   * them from the start (the operating system gives them as they are used), and a little more beside. Default 1,000,000.
   */
  readonly maxBlocks?: number;
  /** Instances known of at most, 1 to 16,384; one that is fenced gives way to a new one. Default 1024. */
  readonly maxInstances?: number;
  /** Expected (instance, block) pairs at most; those that end soonest are dropped first. Default 262,144. */
  readonly maxExpectations?: number;
  /** What looks after the cells: the WebAssembly module, or its slower twin for where no module may be loaded. Default `wasm`. */
  readonly kernel?: 'wasm' | 'typescript';
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
/** Sets of owners cleared per applied update while a sweep runs. */
const SWEEP_SETS = 64;
/** Bytes for sets of owners, per block: one set of 256 instances for every 28 blocks. */
const SET_BYTES_PER_BLOCK = 5;
/** Tiers that are held by the instance itself. */
const KIND_OF_TIER: Partial<Record<Tier, Kind>> = { hbm: KIND.hbm, host: KIND.host };
const TOLD_TIERS = [...(Object.keys(KIND_OF_TIER) as Tier[]), 'store'] as const;
const NO_REACH: StoreReach = new Map();

export function memoryDirectory(options: MemoryDirectoryOptions): Directory {
  return new MemoryDirectory(options);
}

class MemoryDirectory implements Directory {
  readonly #clock: Clock;
  readonly #maxInstances: number;
  readonly #instances = new Map<string, InstanceState>();
  readonly #atSlot: (InstanceState | null)[] = [];
  readonly #slots: Slots;
  readonly #walk: ChainWalk;
  readonly #index: BlockIndex;
  readonly #expectations: Expectations;
  readonly #makeStores: () => StoreIndex;
  /** Made for the first instance that has one. */
  #stores: StoreIndex | null = null;

  constructor(options: MemoryDirectoryOptions) {
    const { clock, maxBlocks = 1_000_000, maxInstances = 1024, maxExpectations = 262_144, kernel = 'wasm' } = options;
    checkInteger('maxBlocks', maxBlocks, 2 ** 26);
    checkInteger('maxInstances', maxInstances, 16_384);
    checkInteger('maxExpectations', maxExpectations, 2 ** 24);
    this.#clock = clock;
    this.#maxInstances = maxInstances;
    const slotWords = slotWordsFor(maxInstances);
    this.#slots = new Slots(slotWords);
    this.#walk = new ChainWalk(slotWords);
    const maxSetBytes = maxBlocks * SET_BYTES_PER_BLOCK;
    const cells = () => (kernel === 'wasm' ? new WasmCells(maxBlocks) : new ScriptCells(maxBlocks));
    this.#makeStores = () => new StoreIndex({ cells: cells(), slotWords, maxSetBytes, maxStores: maxInstances });
    this.#index = new BlockIndex({
      cells: cells(),
      slots: this.#slots,
      slotWords,
      maxSetBytes,
      onAnswered: (key, slot) => this.#expectations.forget(key, slot),
    });
    this.#expectations = new Expectations(maxExpectations, (keys, slot, holds) =>
      this.#index.change(keys, { slot, kind: KIND.expected, holds }),
    );
  }

  apply(instance: string, update: KvEventEnvelope | KvSnapshot): ApplyOutcome {
    this.#expectations.expire(this.#clock.now());
    this.#index.sweep(SWEEP_SETS);
    const state = this.#instances.get(instance) ?? this.#join(instance, update.incarnation);
    if (!state) return 'refused';
    if (state.past.includes(update.incarnation)) return 'stale';
    if (state.incarnation !== update.incarnation) this.#begin(state, update.incarnation);
    return 'tiers' in update ? this.#applySnapshot(state, update) : this.#applyEvent(state, update);
  }

  lookup(keys: ArrayLike<number>): DirectoryMatch[] {
    this.#expectations.expire(this.#clock.now());
    const { live, wordsUsed } = this.#slots;
    const walk = this.#walk;
    this.#index.follow(keys, walk);
    const matches: DirectoryMatch[] = [];
    for (let word = 0; word < wordsUsed; word++) {
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
    const expected = keyNumbersOf(keys, this.#expectations.maxPairs);
    if (expected.length > 0) this.#expectations.add(expected, slot, now + ttlMs);
  }

  fence(instance: string): void {
    const state = this.#instances.get(instance);
    if (!state) return;
    this.#retireSlot(state);
    state.fenced = true;
  }

  joinStore(instance: string, store: string | null): void {
    if (store !== null) this.#stores ??= this.#makeStores();
    this.#stores?.join(instance, store);
  }

  stored(keys: Float64Array): StoreReach {
    return this.#stores?.reach(keys) ?? NO_REACH;
  }

  stats(): DirectoryStats {
    this.#expectations.expire(this.#clock.now());
    return {
      instances: this.#instances.size,
      blocks: this.#index.size,
      stored: this.#stores?.size ?? 0,
      expectations: this.#expectations.size,
      evicted: this.#index.evicted,
    };
  }

  #applyEvent(state: InstanceState, { seq, event }: KvEventEnvelope): ApplyOutcome {
    if (seq <= state.seq) return 'stale';
    if (seq !== state.seq + 1 || state.fenced) return 'gap';
    if (state.slot < 0 || event.type === 'cleared') this.#giveSlot(state);
    state.seq = seq;
    this.#change(state, event);
    return 'applied';
  }

  #applySnapshot(state: InstanceState, snapshot: KvSnapshot): ApplyOutcome {
    if (snapshot.seq < state.seq) return 'stale';
    this.#giveSlot(state);
    state.fenced = false;
    state.seq = snapshot.seq;
    for (const tier of TOLD_TIERS) this.#change(state, { type: 'stored', tier, keys: snapshot.tiers[tier] ?? [] });
    return 'applied';
  }

  #change({ name, slot }: InstanceState, event: KvEvent): void {
    if (event.type === 'cleared') return;
    const holds = event.type === 'stored';
    const kind = KIND_OF_TIER[event.tier];
    if (kind !== undefined) this.#index.change(numbersOf(event.keys), { slot, kind, holds });
    else if (event.tier === 'store') this.#stores?.change(name, numbersOf(event.keys), holds);
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
    this.#expectations.forgetSlot(state.slot);
    state.slot = -1;
  }

  /** A fresh slot: nothing is held yet. */
  #giveSlot(state: InstanceState): void {
    this.#retireSlot(state);
    let slot = this.#slots.take();
    // There are more slots than instances, so some that are dead can be cleared: those of the running sweep, else of the next.
    for (let sweeps = 0; slot < 0 && sweeps < 2; sweeps++) {
      this.#index.sweep(Number.POSITIVE_INFINITY);
      slot = this.#slots.take();
    }
    state.slot = slot;
    this.#atSlot[slot] = state;
  }
}

/** Words of 32 slots: more slots than instances by a fourth, so that dead ones can wait for a sweep. */
function slotWordsFor(maxInstances: number): number {
  return Math.ceil((maxInstances + Math.max(32, maxInstances / 4)) / 32);
}

/** Those that are keys. */
function numbersOf(hexes: readonly string[]): Float64Array {
  const keys = new Float64Array(hexes.length);
  let count = 0;
  for (const hex of hexes) {
    const key = hexNumber(hex);
    if (isKeyNumber(key)) keys[count++] = key;
  }
  return keys.subarray(0, count);
}

/** The first `most` of `keys`, up to a number that is no key. */
function keyNumbersOf(keys: ArrayLike<number>, most: number): Float64Array {
  const numbers = Float64Array.from({ length: Math.min(keys.length, most) }, (_, index) => keys[index] as number);
  const wrong = numbers.findIndex((key) => !isKeyNumber(key));
  return wrong < 0 ? numbers : numbers.subarray(0, wrong);
}
