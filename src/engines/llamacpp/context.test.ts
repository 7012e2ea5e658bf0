import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LlamaContext } from './context.ts';
import { loadModel, type Model } from './model.ts';
import { greedy, uniformAt } from './sampling.ts';
import { cutBlocks, joinBlocks, readLayout } from './statelayout.ts';
import { ensureTinyModel } from './tinymodel.ts';

let folder: string;
let model: Model;
let context: LlamaContext;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-context-'));
  model = loadModel(ensureTinyModel(folder), { vocabularyOnly: false });
  context = new LlamaContext(model, { contextTokens: 1024, sequences: 5 });
});
afterAll(() => {
  context.close();
  model.close();
  rmSync(folder, { recursive: true, force: true });
});

const randomTokens = (count: number, seed: number) => Int32Array.from({ length: count }, (_, i) => Math.floor(uniformAt(seed, i) * 320));

/** Logits after `tokens`, evaluated in pieces that end at `cuts`. */
async function logitsOf(sequence: number, tokens: Int32Array, cuts: number[] = []): Promise<Float32Array> {
  context.truncate(sequence, 0);
  let logits: Float32Array | null = null;
  let from = 0;
  for (const to of [...cuts, tokens.length]) {
    [logits = null] = await context.evaluate([
      { sequence, position: from, tokens: tokens.subarray(from, to), wantLogits: to === tokens.length },
    ]);
    from = to;
  }
  return logits as Float32Array;
}

const bits = (logits: Float32Array | null | undefined) => Buffer.from((logits as Float32Array).buffer).toString('base64');

describe('the same logits, bit for bit', () => {
  it('however a prompt is split, down to single tokens', async () => {
    for (let k = 0; k < 12; k++) {
      const tokens = randomTokens(2 + Math.floor(uniformAt(1, k) * 500), k);
      const whole = bits(await logitsOf(0, tokens));
      const middle = 1 + Math.floor(uniformAt(2, k) * (tokens.length - 1));
      expect(bits(await logitsOf(1, tokens, [middle]))).toBe(whole);
      expect(bits(await logitsOf(2, tokens, [tokens.length - 1]))).toBe(whole);
    }
  });

  it('alone and in a batch with sequences of other lengths, decoded or replayed as a prompt', async () => {
    const tokens = randomTokens(300, 50);
    const first = greedy(await logitsOf(0, tokens));
    await logitsOf(1, tokens);
    await logitsOf(2, randomTokens(33, 51));
    await logitsOf(3, randomTokens(411, 52));
    const said: number[] = [first];
    let last = '';
    for (let step = 0; step < 20; step++) {
      const token = Int32Array.of(said.at(-1) as number);
      const position = tokens.length + step;
      const feed = (sequence: number, at: number) => ({ sequence, position: at, tokens: token, wantLogits: true });
      const [alone] = await context.evaluate([feed(0, position)]);
      const batch = await context.evaluate([feed(2, 33 + step), feed(1, position), feed(3, 411 + step)]);
      last = bits(alone);
      expect(bits(batch[1])).toBe(last);
      said.push(greedy(alone as Float32Array));
    }
    expect(new Set(said).size).toBeGreaterThan(5);
    expect(bits(await logitsOf(4, Int32Array.from([...tokens, ...said.slice(0, -1)])))).toBe(last);
  });

  it('after its KV was cut into blocks and joined elsewhere; another block changes them', async () => {
    const tokens = randomTokens(200, 60);
    const whole = bits(await logitsOf(0, tokens));
    const state = context.read(0);
    const layout = readLayout(state);
    const blocks = cutBlocks(layout, state, { from: 0, to: 12, blockTokens: 16 });
    const resume = async (pieces: Uint8Array[]) => {
      context.write(3, joinBlocks(layout, pieces, { blockTokens: 16, sequence: 3 }));
      const [logits] = await context.evaluate([{ sequence: 3, position: 192, tokens: tokens.subarray(192), wantLogits: true }]);
      return bits(logits);
    };
    expect(await resume(blocks)).toBe(whole);
    expect(await resume(blocks.with(4, blocks[5] as Uint8Array))).not.toBe(whole);
  });
});

it('refuses a second evaluation, and to be closed, while one runs', async () => {
  const feed = { sequence: 0, position: 0, tokens: randomTokens(40, 70), wantLogits: false };
  context.truncate(0, 0);
  const first = context.evaluate([feed]);
  await expect(context.evaluate([feed])).rejects.toThrow('another evaluation');
  expect(() => context.close()).toThrow('while an evaluation runs');
  await first;
});
