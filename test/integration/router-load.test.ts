/** A thousand streams at one time, with an instance that dies in the middle: each ends properly, with the text of one engine alone. */
import { expect, it } from 'vitest';
import { connected, type EngineHandle, MODEL, startBed, startEngine, stream } from './router-fixture.ts';

const STREAMS = 1000;
const TOKENS = 40;
const COSTS = {
  prefillFixed: 0,
  prefillPerToken: 0.001,
  stepFixed: 20,
  stepPerSequence: 0,
  stepPerContextToken: 0,
  pullFixed: 0,
  pullPerMiB: 0,
};

it('a thousand streams survive the death of an instance', { timeout: 120_000 }, async () => {
  const engine = { maxSequences: 512, costs: COSTS, maxWaiting: 4096, hostBytes: 256 * 2 ** 20, hbmBytes: 256 * 2 ** 20 };
  const bed = await startBed({ prefill: 1, decode: 4, engine });
  await connected(bed, 5);
  await bed.ready();
  const alone = await startEngine('single', 'mixed', { costs: { ...COSTS, stepFixed: 0, prefillPerToken: 0 }, maxSequences: 512 });
  let victim: EngineHandle | null = null;
  let events = 0;
  const killMidway = () => {
    events += 1;
    if (events < (STREAMS * TOKENS) / 3 || victim !== null) return;
    victim = bed.engine('decode-0');
    victim.gate.close();
  };
  const bodies = Array.from({ length: STREAMS }, (_, index) => ({
    model: MODEL,
    prompt: `Request ${index % 50} of many, ${'with some words before it '.repeat(4)}`,
    max_tokens: TOKENS,
    temperature: 0.9,
    seed: index % 50,
    ignore_eos: true,
  }));
  const results = await Promise.all(bodies.map((body) => stream(bed.router.url, '/v1/completions', body, killMidway)));
  const wrong = results.filter(({ status, done, broken }) => status !== 200 || !done || broken);
  expect(wrong.map(({ status, raw }) => `${status} ${raw.slice(-200)}`)).toEqual([]);
  const texts = await Promise.all(bodies.slice(0, 50).map((body) => stream(alone.directUrl, '/v1/completions', body)));
  expect(results.filter(({ text }, index) => text !== texts[index % 50]?.text)).toEqual([]);
  expect(victim).not.toBeNull();
  const metrics = await (await fetch(`${bed.router.url}/metrics`)).text();
  expect(Number(/^sluice_router_resumes_total\{.*\} (\d+)$/m.exec(metrics)?.[1])).toBeGreaterThan(10);
  await bed.nothingLeft();
  await bed.close();
  await alone.close();
});
