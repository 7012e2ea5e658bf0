import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { seededRandom } from './arrivals.ts';
import { atRate, cacheableShare, promptsOf, readTrace, scaleTrace, spreadClumps } from './trace.ts';

const DIVISOR = 16;
const BLOCK = 32;

function line(timestamp: number, input: number, output: number, ids: readonly number[]): string {
  return JSON.stringify({ timestamp, input_length: input, output_length: output, hash_ids: ids });
}

const TURNS = [
  line(0, 1500, 160, [0, 1, 2]),
  line(0, 600, 16, [0, 3]),
  line(3000, 2600, 320, [0, 1, 4, 5, 6, 7]),
  line(9000, 3100, 3, [0, 1, 4, 5, 6, 8, 9]),
].join('\n');

describe('readTrace', () => {
  it('reads rows, and says which line is none', () => {
    expect(readTrace(`${TURNS}\n\n`)).toHaveLength(4);
    expect(readTrace(TURNS)[2]).toEqual({ timestamp: 3000, inputLength: 2600, outputLength: 320, hashIds: [0, 1, 4, 5, 6, 7] });
    expect(() => readTrace(`${TURNS}\n{"timestamp":`)).toThrow(/line 5: .*is no JSON; expected \{timestamp/);
    expect(() => readTrace('{"timestamp":0,"input_length":0,"output_length":1,"hash_ids":[]}')).toThrow('line 1: input_length is 0');
    expect(() => readTrace(line(0, 1025, 1, [1, 2]))).toThrow('2 hash_ids for 1025 tokens, not 3');
    expect(() => readTrace('{"timestamp":0,"input_length":5,"output_length":1,"hash_ids":["a"]}')).toThrow('hash_ids is ["a"]');
  });
});

describe('scaleTrace', () => {
  const scaled = scaleTrace(readTrace(TURNS), DIVISOR, 1);

  it('divides lengths, keeps ids, and leaves at least one token in the last block', () => {
    expect(scaled.map(({ promptTokens }) => promptTokens)).toEqual([93, 37, 162, 193]);
    expect(scaled.map(({ outputTokens }) => outputTokens)).toEqual([10, 2, 20, 2]);
    for (const { promptTokens, blocks } of scaled) expect(Math.ceil(promptTokens / BLOCK)).toBe(blocks.length);
    expect(scaled[2]?.blocks).toEqual([0, 1, 4, 5, 6, 7]);
  });

  it('counts a block of which less than a token is left', () => {
    expect(scaleTrace(readTrace(line(0, 1025, 16, [0, 1, 2])), DIVISOR, 1)[0]?.promptTokens).toBe(65);
  });

  it('knows the turn before: the latest that was extended, never one that shares only the first block', () => {
    expect(scaled.map(({ after }) => after)).toEqual([null, null, 0, 2]);
    const strangers = scaleTrace(readTrace([line(0, 600, 16, [0, 3]), line(9, 1500, 16, [0, 4, 5])].join('\n')), DIVISOR, 1);
    expect(strangers.map(({ after }) => after)).toEqual([null, null]);
  });

  it('spreads clumps but not pauses, in order', () => {
    const times = spreadClumps([0, 0, 0, 3000, 63_000, 63_000], seededRandom(5));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(new Set(times).size).toBe(6);
    for (const [index, start] of [0, 0, 0, 3000, 63_000, 63_000].entries()) {
      expect(times[index]).toBeGreaterThanOrEqual(start);
      expect(times[index]).toBeLessThan(start + 3000);
    }
  });
});

describe('prompts', () => {
  const scaled = scaleTrace(readTrace(TURNS), DIVISOR, 1);
  const [first, other, second] = scaled.map(promptsOf(7, BLOCK)) as [string, string, string, string];

  it('share what the ids share, to the byte, and no more', () => {
    expect(first).toHaveLength(93);
    expect(second.slice(0, 64)).toBe(first.slice(0, 64));
    expect(second.slice(64, 93)).not.toBe(first.slice(64));
    expect(other.slice(0, 32)).toBe(first.slice(0, 32));
    expect(other.slice(32)).not.toBe(first.slice(32, 37));
  });

  it('are the same for the same salt, and share nothing with those of another', () => {
    expect(scaled.map(promptsOf(7, BLOCK))[2]).toBe(second);
    const salted = scaled.map(promptsOf(8, BLOCK));
    expect(salted[2]).toHaveLength(second.length);
    for (let at = 0; at < second.length; at += BLOCK) {
      expect(salted[2]?.slice(at, at + BLOCK)).not.toBe(second.slice(at, at + BLOCK));
    }
  });
});

describe('atRate', () => {
  it('takes as many as the rate asks for and keeps the proportions of the gaps', () => {
    const scaled = scaleTrace(readTrace(TURNS), DIVISOR, 1);
    const run = atRate(scaled, 0.5, 8);
    expect(run).toHaveLength(4);
    expect(run[0]?.atMs).toBe(0);
    expect(run.at(-1)?.atMs).toBeCloseTo(8000);
    const [a, b, c] = scaled.map(({ atMs }) => atMs) as [number, number, number];
    const [x, y, z] = run.map(({ atMs }) => atMs) as [number, number, number];
    expect((z - y) / (y - x)).toBeCloseTo((c - b) / (b - a));
    expect(atRate(scaled, 1, 2)).toHaveLength(2);
  });
});

describe('cacheableShare', () => {
  it('counts whole blocks from the start that an earlier request had', () => {
    const scaled = scaleTrace(readTrace(TURNS), DIVISOR, 1);
    // 93 tokens new; 32 of 37; 64 of 162; 160 of 193.
    expect(cacheableShare(scaled, BLOCK)).toBeCloseTo((32 + 64 + 160) / (93 + 37 + 162 + 193));
  });

  it('does not count a last block that is not full', () => {
    const [, request] = scaleTrace(readTrace(TURNS), DIVISOR, 1);
    if (!request) throw new Error('no request');
    expect(cacheableShare([request, request], BLOCK)).toBeCloseTo(32 / 74);
  });
});

describe('the traces of this repository', () => {
  it.each([
    ['mooncake-conversations', 0.4],
    ['mooncake-documents', 0.4],
  ])('%s fits the context of 4,096 tokens, and there is something to share', (name, leastShare) => {
    const file = fileURLToPath(new URL(`../data/${name}.jsonl`, import.meta.url));
    const scaled = scaleTrace(readTrace(readFileSync(file, 'utf8')), DIVISOR, 1);
    expect(scaled.length).toBeGreaterThan(250);
    for (const { promptTokens, outputTokens } of scaled) expect(promptTokens + outputTokens).toBeLessThanOrEqual(4096);
    expect(cacheableShare(scaled.slice(0, 60), BLOCK)).toBeGreaterThan(leastShare);
  });
});
