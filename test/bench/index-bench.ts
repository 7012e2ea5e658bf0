/**
 * The index bench: the directory's block index, in WebAssembly and in TypeScript, against the structure it had before and against a plain
 * Map. Chains of 512 blocks with random keys; of 256 instances most chains have one owner, some three, few forty.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { seededRandom } from './arrivals.ts';
import { CHAIN_BLOCKS, type Contender, contendersFor, INSTANCES, type IndexUnderTest } from './index-contenders.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';

const SIZES = [1_000_000, 10_000_000] as const;
const LOOKUPS = 1000;
const OURS = 'wasm';

/** Chains of keys and who owns them. */
interface Load {
  readonly keys: Float64Array;
  readonly owners: readonly (readonly number[])[];
}

export function benchIndex(options: BenchOptions, progress: Progress): Report {
  const samples: Sample[] = [];
  const collect = garbageCollector();
  // The first round is for the compiler, and small.
  measureAll({ blocks: 100_000, repeat: 0, collect });
  for (let repeat = 0; repeat < options.runs; repeat += 1) {
    for (const blocks of SIZES) {
      progress.step(`run ${repeat + 1}/${options.runs}, ${blocks / 1e6} M blocks`);
      samples.push(...measureAll({ blocks, repeat, collect }));
    }
  }
  return reportOf(samples, options.runs);
}

interface Round {
  readonly blocks: number;
  readonly repeat: number;
  readonly collect: () => void;
}

function measureAll(round: Round): Sample[] {
  const load = loadOf(round.blocks, seededRandom(round.repeat + round.blocks));
  return rotate(contendersFor(round.blocks), round.repeat).flatMap((contender) => measureOne(contender, load, round));
}

/** A function of its own, so that nothing holds on to one contender's memory while the next one's is measured. */
function measureOne({ name, make }: Contender, load: Load, { blocks, repeat, collect }: Round): Sample[] {
  const samples: Sample[] = [];
  collect();
  const before = heldBytes();
  const index = make();
  const add = (metric: string, value: number) => samples.push({ repeat, contender: name, metric: `${metric}.${blocks / 1e6}M`, value });
  add('insert', load.keys.length / microseconds(() => publish(index, load, 'first')));
  const others = load.owners.reduce((sum, { length }) => sum + length - 1, 0) * CHAIN_BLOCKS;
  add('share', others / microseconds(() => publish(index, load, 'others')));
  collect();
  add('bytes', (heldBytes() - before + index.uncountedBytes) / load.keys.length);
  add('lookup', microseconds(() => lookUp(index, load, repeat)) / LOOKUPS);
  add('remove', (load.keys.length + others) / microseconds(() => remove(index, load)));
  if (index.size !== 0) throw new Error(`${name} holds ${index.size} blocks after all were removed`);
  return samples;
}

function loadOf(blocks: number, random: () => number): Load {
  const chains = Math.floor(blocks / CHAIN_BLOCKS);
  const owners = Array.from({ length: chains }, () => {
    const kind = random();
    const first = Math.floor(random() * INSTANCES);
    return Array.from({ length: kind < 0.9 ? 1 : kind < 0.99 ? 3 : 40 }, (_, index) => (first + index * 5) % INSTANCES);
  });
  const keys = new Float64Array(chains * CHAIN_BLOCKS);
  for (let at = 0; at < keys.length; at++) keys[at] = Math.floor(random() * 2 ** 32) * 2 ** 21 + Math.floor(random() * 2 ** 21);
  return { keys, owners };
}

function chainOf({ keys }: Load, chain: number): Float64Array {
  return keys.subarray(chain * CHAIN_BLOCKS, (chain + 1) * CHAIN_BLOCKS);
}

function publish(index: IndexUnderTest, load: Load, which: 'first' | 'others'): void {
  for (const [chain, owners] of load.owners.entries())
    for (const owner of which === 'first' ? owners.slice(0, 1) : owners.slice(1)) index.add(chainOf(load, chain), owner);
}

function remove(index: IndexUnderTest, load: Load): void {
  for (const [chain, owners] of load.owners.entries()) for (const owner of owners) index.remove(chainOf(load, chain), owner);
}

/** Chains from all over, so that none is in the processor's caches from before. */
function lookUp(index: IndexUnderTest, load: Load, repeat: number): void {
  for (let round = 0; round < LOOKUPS; round++) {
    const chain = (round * 7919 + repeat) % load.owners.length;
    const found = index.lookup(chainOf(load, chain));
    if (found !== load.owners[chain]?.length)
      throw new Error(`found ${found} owners of chain ${chain}, expected ${load.owners[chain]?.length}`);
  }
}

/** CPU time: what else runs on the machine takes no part in it. */
function microseconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function heldBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** What is garbage must be gone before memory is measured, and Node has the collector behind a flag only. */
function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('this Node gives no access to its garbage collector');
  return () => {
    // What the first round lets go of outside the heap is given back in the second.
    collect();
    collect();
  };
}

function reportOf(samples: readonly Sample[], runs: number): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const units: Record<string, string> = {};
  for (const { metric } of samples) units[metric] = unitOf(metric);
  return {
    name: 'index',
    ratio,
    baseline: {
      typescript: 'the twin of the WebAssembly module in TypeScript',
      rows: 'what the directory had before: a row of bits per block',
      map: 'Map from key to an instance, or to a Set of them',
    },
    runs,
    machine: describeMachine(),
    absolute,
    units,
    notes: [
      `CPU time; chains of ${CHAIN_BLOCKS} blocks, ${INSTANCES} instances: 90 % of chains have one owner, 9 % three, 1 % forty`,
      'insert: blocks with their first owner; share: further owners of known blocks; remove: every (block, owner) until nothing is left',
      'lookup: one whole chain, every instance that holds its first block and how far; checked',
      'bytes: heap and array buffers and WebAssembly memory per block; cells are made for as many blocks as are put in',
      'rows at 10M is left out: 256 instances would take about 2 GB',
      ...omitted,
    ],
  };
}

function unitOf(metric: string): string {
  if (metric.startsWith('lookup')) return 'us per chain';
  return metric.startsWith('bytes') ? 'bytes per block' : 'M per second';
}
