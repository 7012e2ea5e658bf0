/**
 * Request traces with block identity (Mooncake's format), scaled down to a small machine and turned into prompts. Pure; the same seed
 * and salt give the same bytes.
 *
 * Lengths are divided by `divisor`, so a block of 512 tokens becomes one of 512/divisor; ids stay, so that what two requests share is
 * what they shared. Recorded times come in clumps of 3 s: within a clump they are spread.
 */
import { seededRandom } from './arrivals.ts';

/** Tokens of one block of the recorded trace. */
const RECORDED_BLOCK_TOKENS = 512;
/** One token would leave nothing to take a time per token from. */
const LEAST_OUTPUT_TOKENS = 2;

/** One line of a trace as it was recorded. */
export interface TraceRow {
  /** Milliseconds from the begin of the trace. */
  readonly timestamp: number;
  readonly inputLength: number;
  readonly outputLength: number;
  /** Equal ids at the start of two rows: an equal beginning of their prompts, in blocks of 512 tokens. */
  readonly hashIds: readonly number[];
}

export interface ScaledRequest {
  /** Milliseconds of the trace's own clock. */
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly blocks: readonly number[];
  /** Index of the request whose prompt this one goes on from, as the next turn of a conversation does; null = none. */
  readonly after: number | null;
}

/** Reads JSON lines. @throws Error naming the line that is not such a row */
export function readTrace(text: string): TraceRow[] {
  return text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => line.trim() !== '')
    .map(({ line, number }) => rowOf(line, number));
}

function rowOf(line: string, number: number): TraceRow {
  const fail = (what: string) => new Error(`trace, line ${number}: ${what}; expected {timestamp, input_length, output_length, hash_ids}`);
  let row: Record<string, unknown>;
  try {
    row = JSON.parse(line);
  } catch {
    throw fail(`'${line.slice(0, 60)}' is no JSON`);
  }
  const count = (key: string, least: number): number => {
    const value = row[key];
    if (typeof value === 'number' && Number.isFinite(value) && value >= least) return value;
    throw fail(`${key} is ${JSON.stringify(value)}`);
  };
  const ids = row['hash_ids'];
  if (!Array.isArray(ids) || !ids.every((id) => Number.isInteger(id))) throw fail(`hash_ids is ${JSON.stringify(ids)?.slice(0, 60)}`);
  const inputLength = count('input_length', 1);
  const blocks = Math.ceil(inputLength / RECORDED_BLOCK_TOKENS);
  if (ids.length !== blocks) throw fail(`${ids.length} hash_ids for ${inputLength} tokens, not ${blocks}`);
  return { timestamp: count('timestamp', 0), inputLength, outputLength: count('output_length', 1), hashIds: ids };
}

/** Rows in order of time, scaled. `divisor` divides 512. */
export function scaleTrace(rows: readonly TraceRow[], divisor: number, seed: number): ScaledRequest[] {
  const blockTokens = RECORDED_BLOCK_TOKENS / divisor;
  const times = spreadClumps(
    rows.map((row) => row.timestamp),
    seededRandom(seed),
  );
  const turns = predecessors(rows.map((row) => row.hashIds));
  return rows.map((row, index) => ({
    atMs: times[index] ?? 0,
    // At least one token in the last block, so that the ids still count the blocks.
    promptTokens: Math.max(Math.floor(row.inputLength / divisor), (row.hashIds.length - 1) * blockTokens + 1),
    outputTokens: Math.max(Math.round(row.outputLength / divisor), LEAST_OUTPUT_TOKENS),
    blocks: row.hashIds,
    after: turns[index] ?? null,
  }));
}

/** Equal times (ascending) are spread over the time to the next later one; those of the last clump over that before it. */
export function spreadClumps(times: readonly number[], random: () => number): number[] {
  const spread: number[] = [];
  let gap = 0;
  while (spread.length < times.length) {
    const start = times[spread.length] ?? 0;
    const end = times.findIndex((time) => time > start);
    const size = (end < 0 ? times.length : end) - spread.length;
    gap = end < 0 ? gap : (times[end] ?? start) - start;
    // A pause is no clump: only what the clumps are apart is filled.
    const width = Math.min(gap, CLUMP_MS);
    const offsets = Array.from({ length: size }, () => random() * width).sort((a, b) => a - b);
    for (const offset of offsets) spread.push(start + offset);
  }
  return spread;
}

/** Distance of the clumps of the recorded traces. */
const CLUMP_MS = 3000;

/**
 * For each list of ids the latest earlier one that it extends: it has all of that one's blocks but the last, which was not full, and
 * more than the block that every request begins with.
 */
function predecessors(lists: readonly (readonly number[])[]): (number | null)[] {
  // Ids are chained, so the last full block stands for all before it.
  const lastFull = new Map<number, number>();
  return lists.map((ids, index) => {
    let found: number | null = null;
    for (let at = ids.length - 2; at >= 0 && found === null; at -= 1) found = lastFull.get(ids[at] ?? -1) ?? null;
    const full = ids.at(-2);
    if (full !== undefined && ids.length > 2) lastFull.set(full, index);
    return found;
  });
}

/** Characters of a prompt: plain ones, of which a tokenizer of bytes makes one token each. */
const LETTERS = 'abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ .,';

/** Makes prompts of one salt: other salts give other bytes for the same ids, so that no cache knows them. Keeps the texts of blocks. */
export function promptsOf(salt: number, blockTokens: number): (request: ScaledRequest) => string {
  const texts = new Map<number, string>();
  const textOf = (id: number): string => {
    const known = texts.get(id);
    if (known !== undefined) return known;
    const random = seededRandom(Math.imul(id + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b));
    let text = '';
    while (text.length < blockTokens) text += LETTERS[Math.floor(random() * LETTERS.length)];
    texts.set(id, text);
    return text;
  };
  return ({ blocks, promptTokens }) => blocks.map(textOf).join('').slice(0, promptTokens);
}

/** The first requests of a trace at another mean rate: times from 0, in milliseconds. Gaps keep their proportions. */
export function atRate(requests: readonly ScaledRequest[], ratePerSecond: number, seconds: number): ScaledRequest[] {
  const some = requests.slice(0, Math.max(1, Math.round(ratePerSecond * seconds)));
  const first = some[0]?.atMs ?? 0;
  const span = (some.at(-1)?.atMs ?? 0) - first;
  const lengthMs = (some.length * 1000) / ratePerSecond;
  return some.map((request) => ({ ...request, atMs: span === 0 ? 0 : ((request.atMs - first) * lengthMs) / span }));
}

/** Share of prompt tokens that one endless cache of whole blocks would have had: no router does better. */
export function cacheableShare(requests: readonly ScaledRequest[], blockTokens: number): number {
  const seen = new Set<number>();
  let hits = 0;
  let all = 0;
  for (const { blocks, promptTokens } of requests) {
    const full = blocks.slice(0, Math.floor(promptTokens / blockTokens));
    const known = full.findIndex((id) => !seen.has(id));
    hits += (known < 0 ? full.length : known) * blockTokens;
    all += promptTokens;
    for (const id of full) seen.add(id);
  }
  return all === 0 ? 0 : hits / all;
}
