/**
 * Parked sessions come back to a busy instance, in time that only the test moves: a simulated engine over a store whose link has a rate. What they wait for is
 * the engine's own line, its reading of the store, and its choice between reading and computing.
 */
import { createSimEngine, type EngineRequest, type PromptReport } from '../../src/engines/index.ts';
import { blockKeys, chainSeed, type KvBlock, keyHexes, kvBlock } from '../../src/kv/index.ts';
import { GroupedStore } from '../../src/kv/store/grouped.ts';
import type { Shelf, ShelfValue } from '../../src/kv/store/shelf.ts';
import { type Clock, FakeClock } from '../../src/shared/index.ts';
import { poissonArrivals, seededRandom } from '../bench/arrivals.ts';
import { LLAMA_8B_ON_A10 } from '../bench/declared.ts';

const BLOCK_TOKENS = 16;
/** Of the model: 128 KiB per token. What is stored here is a five-hundredth of that, and so is the rate of the link. */
const MODEL_BLOCK_BYTES = 2 << 20;
const BLOCK_BYTES = 4_096;
const GROUP_BLOCKS = 8;
/** For what is there before time begins. */
const AT_ONCE: Clock = {
  now: () => 0,
  wall: () => 0,
  after: (_ms, run) => {
    queueMicrotask(run);
    return () => undefined;
  },
};
/** Of a session's next turn. */
const NEW_TOKENS = 64;

/** A session of so many parked tokens, with 64 more, or a prompt that nobody has seen. */
export interface Arrival {
  readonly atMs: number;
  readonly kind: 'returning' | 'fresh';
  readonly tokens: number;
  readonly outputTokens: number;
}

export interface World {
  readonly sequences: number;
  /** Of the model's bytes. */
  readonly storeBytesPerSecond: number;
}

export interface Turn {
  readonly kind: Arrival['kind'];
  /** Of the arrival, in the order of the arrivals. */
  readonly index: number;
  readonly ttftMs: number;
  readonly report: PromptReport;
}

export interface ReturningLoad {
  readonly seed: number;
  readonly seconds: number;
  readonly returnsPerSecond: number;
  readonly freshPerSecond: number;
  readonly parkedTokens: number;
  readonly freshTokens: number;
  readonly outputTokens: number;
}

export function poissonLoad(load: ReturningLoad): Arrival[] {
  const random = seededRandom(load.seed);
  const { seconds, outputTokens } = load;
  const of = (kind: Arrival['kind'], perSecond: number, tokens: number) =>
    poissonArrivals(perSecond, seconds, random).map((atMs): Arrival => ({ atMs, kind, tokens, outputTokens }));
  const all = [...of('returning', load.returnsPerSecond, load.parkedTokens), ...of('fresh', load.freshPerSecond, load.freshTokens)];
  return all.sort((a, b) => a.atMs - b.atMs);
}

/** Keeps values in memory at once: the link's rate is the store's own. */
class MemoryShelf implements Shelf {
  readonly kind = 'folder';
  readonly place = 'memory';
  readonly id = 'memory';
  readonly #values = new Map<string, ShelfValue>();
  readonly #holder = new Map<string, string>();

  find(keys: readonly string[]): Promise<readonly (string | null)[]> {
    return Promise.resolve(keys.map((key) => this.#holder.get(key) ?? null));
  }

  load(id: string): Promise<Buffer | null> {
    return Promise.resolve(this.#values.get(id)?.bytes ?? null);
  }

  touch(): Promise<void> {
    return Promise.resolve();
  }

  save(value: ShelfValue): Promise<{ refused: null; evicted: readonly string[] }> {
    this.#values.set(value.id, value);
    for (const key of value.keys) this.#holder.set(key, value.id);
    return Promise.resolve({ refused: null, evicted: [] });
  }

  remove(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  pin(): Promise<void> {
    return Promise.resolve();
  }

  ids(): Promise<readonly string[]> {
    return Promise.resolve([...this.#values.keys()]);
  }

  usage(): Promise<{ usedBytes: number; pinnedBytes: number; capacityBytes: number; groups: number }> {
    return Promise.resolve({ usedBytes: 0, pinnedBytes: 0, capacityBytes: 1 << 30, groups: this.#values.size });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** All turns, in the order of their first tokens. */
export async function simulateArrivals({ sequences, storeBytesPerSecond }: World, arrivals: readonly Arrival[]): Promise<Turn[]> {
  const clock = new FakeClock();
  const shelf = new MemoryShelf();
  const prompts = await parkedPrompts(shelf, clock, arrivals);
  const bytesPerSecond = (storeBytesPerSecond * BLOCK_BYTES) / MODEL_BLOCK_BYTES;
  const store = new GroupedStore(shelf, { clock, groupBytes: GROUP_BLOCKS * BLOCK_BYTES, bytesPerSecond });
  const engine = await createSimEngine({
    instance: 'one',
    role: 'mixed',
    modelName: 'm',
    clock,
    store,
    costs: LLAMA_8B_ON_A10,
    contextTokens: 16_384,
    blockTokens: BLOCK_TOKENS,
    bytesPerBlock: BLOCK_BYTES,
    maxSequences: sequences,
    hbmBytes: 6_000 * BLOCK_BYTES,
    hostBytes: 0,
    maxWaiting: 10_000,
  });
  const turns: Turn[] = [];
  let open = 0;
  const ask = (index: number) => {
    const { kind, outputTokens } = arrivals[index] as Arrival;
    const startedAt = clock.now();
    open += 1;
    engine.generate(requestOf(prompts[index] as Int32Array, outputTokens), {
      start: (report) => turns.push({ kind, index, ttftMs: clock.now() - startedAt, report }),
      token: () => undefined,
      end: () => {
        open -= 1;
      },
      error: (error) => {
        throw error;
      },
    });
  };
  for (let next = 0; next < arrivals.length || open > 0; ) {
    while (next < arrivals.length && (arrivals[next] as Arrival).atMs <= clock.now()) ask(next++);
    clock.advance(1);
    await settled();
  }
  await engine.close();
  return turns;
}

/** Until all that does not wait for the clock is done. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function requestOf(prompt: Int32Array, maxTokens: number): EngineRequest {
  const sampling = { temperature: 1, topP: 1, seed: 3, maxTokens, ignoreEos: true, logprobs: null };
  return { id: 'r', prompt, resumed: new Int32Array(0), sampling, salt: '', ticket: null, pullDeadlineMs: 5_000 };
}

function tokensOf(session: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, at) => ((session * 7_919 + at * 31) & 0xffff) | ((session & 0x3fff) << 16));
}

/** The prompt of every arrival; what sessions have parked of theirs is in the store. */
async function parkedPrompts(shelf: Shelf, clock: FakeClock, arrivals: readonly Arrival[]): Promise<Int32Array[]> {
  const shape = { clock, blockTokens: BLOCK_TOKENS, bytesPerBlock: BLOCK_BYTES };
  const probe = await createSimEngine({ instance: 'probe', role: 'mixed', modelName: 'm', ...shape });
  const seed = chainSeed(probe.info.identity, '');
  await probe.close();
  const writer = new GroupedStore(shelf, { clock: AT_ONCE, groupBytes: GROUP_BLOCKS * BLOCK_BYTES, maxPendingBytes: 1 << 30 });
  const bytes = new Uint8Array(BLOCK_BYTES);
  const prompts = arrivals.map(({ kind, tokens }, index) => tokensOf(index + 1, kind === 'fresh' ? tokens : tokens + NEW_TOKENS));
  for (const [index, { kind, tokens: parked }] of arrivals.entries()) {
    if (kind === 'fresh') continue;
    const tokens = (prompts[index] as Int32Array).slice(0, parked);
    const keys = keyHexes(blockKeys(seed, tokens, BLOCK_TOKENS));
    const tokensAt = (at: number) => tokens.slice(at * BLOCK_TOKENS, (at + 1) * BLOCK_TOKENS);
    void writer.write(keys.map((key, at): KvBlock => kvBlock(key, keys[at - 1] ?? null, tokensAt(at), bytes)));
  }
  await writer.settled();
  return prompts;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
