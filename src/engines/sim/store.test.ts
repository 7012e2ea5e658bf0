import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { openFolderStore } from '../../kv/index.ts';
import { systemClock } from '../../shared/index.ts';
import type { EngineCore, EngineRequest, PromptReport } from '../port.ts';
import { createSimEngine } from './engine.ts';
import type { SimOptions } from './options.ts';

const folders: string[] = [];
const engines: EngineCore[] = [];

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Room for two prompts of 1,024 tokens in HBM and for two below it. */
async function engineOf(path: string, options: Partial<SimOptions> = {}): Promise<EngineCore> {
  const store = await openFolderStore({ path, capacityBytes: 64 << 20, clock: systemClock });
  const engine = await createSimEngine({
    instance: 's',
    role: 'mixed',
    modelName: 'm',
    clock: systemClock,
    store,
    contextTokens: 2048,
    hbmBytes: 130 * 4096,
    hostBytes: 128 * 4096,
    // As slow to compute as a large model, as quick to speak as none.
    costs: { prefillFixed: 0, prefillPerToken: 0.5, prefillPerTokenContext: 0, stepFixed: 0, stepPerSequence: 0, stepPerContextToken: 0 },
    ...options,
  });
  engines.push(engine);
  return engine;
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-sim-store-'));
  folders.push(folder);
  return folder;
}

const prompt = (from: number) => Int32Array.from({ length: 1024 }, (_, index) => from * 10_000 + index);

function ask(engine: EngineCore, tokens: Int32Array): Promise<{ report: PromptReport; said: number[] }> {
  const sampling = { temperature: 1, topP: 1, seed: 3, maxTokens: 4, ignoreEos: true, logprobs: null };
  const request: EngineRequest = {
    id: 'r',
    prompt: tokens,
    resumed: new Int32Array(0),
    sampling,
    salt: '',
    ticket: null,
    pullDeadlineMs: 5_000,
  };
  return new Promise((resolve, reject) => {
    const said: number[] = [];
    let report: PromptReport | undefined;
    engine.generate(request, {
      start: (given) => {
        report = given;
      },
      token: (token) => said.push(token),
      end: () => resolve({ report: report as PromptReport, said }),
      error: reject,
    });
  });
}

it('takes up from the store what it gave up, and says the same', async () => {
  const engine = await engineOf(newFolder());
  const first = await ask(engine, prompt(1));
  for (let other = 2; other < 7; other++) await ask(engine, prompt(other));
  await expect.poll(() => engine.counters().store?.writtenBytes).toBeGreaterThan(64 * 4096);
  const again = await ask(engine, prompt(1));
  expect(again.said).toEqual(first.said);
  const { reused, computed, onboard } = again.report;
  expect(reused.store).toBeGreaterThan(512);
  expect(reused.hbm + reused.host + reused.peer + reused.store + computed).toBe(1024);
  expect(onboard?.blocks).toBe(Math.ceil(reused.store / 16));
  expect(engine.snapshot().tiers.store?.length).toBeGreaterThan(64);
});

it('computes when that is free', async () => {
  const engine = await engineOf(newFolder(), { costs: { prefillFixed: 0, prefillPerToken: 0, prefillPerTokenContext: 0, stepFixed: 0 } });
  for (let other = 1; other < 7; other++) await ask(engine, prompt(other));
  expect((await ask(engine, prompt(1))).report.reused.store).toBe(0);
  expect(engine.counters().store).toMatchObject({ writtenBytes: 0, onboarded: 0 });
});
