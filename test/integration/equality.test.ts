/**
 * The promise that everything else stands on: a prompt prefilled on one instance and decoded on another gives, token for token, what
 * one engine alone gives. Real engines, random prompts of 1 to 4,000 tokens, greedy and seeded: 40 in `npm test`, a minute or so of 2 cores, and
 * 200 in `npm run test:long`, two to seven minutes.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineCore, EngineRequest, Sampling } from '../../src/engines/index.ts';
import { GREEDY, generate, prefill, request, TinyEngines } from '../../src/engines/llamacpp/tinyengines.fixture.ts';

const PROMPTS = process.env['SLUICE_TEST_LONG'] === '1' ? 200 : 40;
const LONGEST = 4000;
const SEEDED: Sampling = { ...GREEDY, temperature: 0.8 };

const engines = new TinyEngines({ contextTokens: 8192, maxSequences: 8 });
let alone: EngineCore;
let prefiller: EngineCore;
let decoder: EngineCore;
let secondDecoder: EngineCore;

beforeAll(async () => {
  [alone, prefiller, decoder, secondDecoder] = await Promise.all([
    engines.open('alone'),
    engines.open('prefill-0', { role: 'prefill' }),
    engines.open('decode-0', { role: 'decode' }),
    engines.open('decode-1', { role: 'decode' }),
  ]);
});
afterAll(() => engines.closeAll());

/** xorshift32: the same prompts in every run, so that a failure can be looked at. */
function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4_294_967_296;
  };
}

function randomTokens(random: () => number, count: number): Int32Array {
  return Int32Array.from({ length: count }, () => Math.floor(random() * 320));
}

const salted = (prompt: Int32Array, sampling: Sampling) => request(prompt, { sampling, salt: `${sampling.temperature}` });

async function inTurn<T>(greedy: () => Promise<T>, seeded: () => Promise<T>): Promise<{ greedy: T; seeded: T }> {
  const first = await greedy();
  return { greedy: first, seeded: await seeded() };
}

async function handedOff(of: EngineRequest, to = decoder) {
  const { ticket } = await prefill(prefiller, of);
  return generate(to, { ...of, ticket });
}

it(`prefill → decode equals one engine alone: ${PROMPTS} random prompts of 1 to ${LONGEST} tokens, greedy and seeded`, {
  timeout: 900_000,
}, async () => {
  const random = randomFrom(1);
  const pulled = { greedy: 0, seeded: 0 };
  const different: string[] = [];
  for (let i = 0; i < PROMPTS; i++) {
    const prompt = randomTokens(random, 1 + Math.floor(random() * LONGEST));
    // Prompts are computed once by each engine: the seeded answer starts from blocks that the greedy one left. A decode instance of
    // its own gets them handed over all the same.
    const asked = (sampling: Sampling) => request(prompt, { sampling: { ...sampling, seed: i }, salt: 'random' });
    const [one, two] = await Promise.all([
      inTurn(
        () => generate(alone, asked(GREEDY)),
        () => generate(alone, asked(SEEDED)),
      ),
      inTurn(
        () => handedOff(asked(GREEDY)),
        () => handedOff(asked(SEEDED), secondDecoder),
      ),
    ]);
    for (const kind of ['greedy', 'seeded'] as const) {
      pulled[kind] += two[kind].report.reused.peer;
      const whole = one[kind].tokens.length === GREEDY.maxTokens;
      if (!whole || one[kind].tokens.join() !== two[kind].tokens.join()) different.push(`${i}, ${kind}`);
    }
  }
  expect(different).toEqual([]);
  // Tokens that really came from the prefill instance.
  expect(pulled.greedy).toBeGreaterThan(PROMPTS * LONGEST * 0.4);
  expect(pulled.seeded).toBeGreaterThan(PROMPTS * LONGEST * 0.4);
});

describe.each([
  ['greedy', GREEDY],
  ['seeded, temperature 0.8', SEEDED],
])('prefill → decode equals one engine alone: %s', (_, base) => {
  it('with prefixes that each instance knows in part', { timeout: 300_000 }, async () => {
    const random = randomFrom(7);
    const reused = { hbm: 0, host: 0, peer: 0 };
    for (let conversation = 0; conversation < 10; conversation++) {
      let prompt = randomTokens(random, 40 + Math.floor(random() * 900));
      const sampling = { ...base, seed: conversation };
      for (let turn = 0; turn < 3; turn++) {
        const [one, two] = await Promise.all([generate(alone, salted(prompt, sampling)), handedOff(salted(prompt, sampling))]);
        expect(two.tokens, `conversation ${conversation}, turn ${turn}`).toEqual(one.tokens);
        for (const tier of ['hbm', 'host', 'peer'] as const) reused[tier] += two.report.reused[tier];
        prompt = Int32Array.from([...prompt, ...two.tokens, ...randomTokens(random, 5 + Math.floor(random() * 120))]);
      }
    }
    expect(reused.hbm).toBeGreaterThan(0);
    expect(reused.peer).toBeGreaterThan(0);
  });
});
