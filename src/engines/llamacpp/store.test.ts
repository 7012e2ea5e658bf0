/** The store below a real engine: same tokens as without, whatever happens to what is stored. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KvEvent, openFolderStore } from '../../kv/index.ts';
import { systemClock } from '../../shared/index.ts';
import type { EngineCore, EngineRequest, PromptReport, Sampling } from '../port.ts';
import { createLlamaCppEngine, type LlamaCppOptions } from './engine.ts';
import { uniformAt } from './sampling.ts';
import { ensureTinyModel } from './tinymodel.ts';

const PROMPT_TOKENS = 496;
/** Whole blocks of a prompt but for the last token. */
const REUSABLE = 30 * 16;
let folder: string;
let modelPath: string;
let plain: EngineCore;
const engines: EngineCore[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-engine-store-'));
  modelPath = ensureTinyModel(folder);
  plain = await engine('plain', { hostBytes: 64 * 2 ** 20, maxSequences: 16, hbmBytes: 16 * 1024 * 1024 });
}, 120_000);
afterAll(async () => {
  await Promise.all(engines.map((core) => core.close()));
  rmSync(folder, { recursive: true, force: true });
});

async function engine(instance: string, change: Partial<LlamaCppOptions> = {}): Promise<EngineCore> {
  const core = await createLlamaCppEngine({
    instance,
    role: 'mixed',
    modelName: 'tiny',
    modelPath,
    host: '127.0.0.1',
    contextTokens: 1024,
    maxSequences: 2,
    blockTokens: 16,
    // One context of HBM, and a host memory of one and a half prompts: the third prompt drives the first into the store.
    hbmBytes: 1024 * 1024,
    hostBytes: 48 * 16_384,
    leaseMs: 30_000,
    clock: systemClock,
    onWarning: () => undefined,
    ...change,
  });
  engines.push(core);
  return core;
}

const storeIn = (name: string, setup: object = {}) =>
  openFolderStore({ path: join(folder, name), capacityBytes: 64 * 2 ** 20, clock: systemClock, ...setup });

const randomTokens = (count: number, seed: number) => Int32Array.from({ length: count }, (_, i) => Math.floor(uniformAt(seed, i) * 320));
const SAMPLING: Sampling = { temperature: 0.8, topP: 1, seed: 77, maxTokens: 24, ignoreEos: true, logprobs: null };

function request(prompt: Int32Array, change: Partial<EngineRequest> = {}): EngineRequest {
  return { id: 'r', prompt, resumed: new Int32Array(0), sampling: SAMPLING, salt: '', ticket: null, pullDeadlineMs: 10_000, ...change };
}

function generate(core: EngineCore, of: EngineRequest): Promise<{ tokens: number[]; report: PromptReport }> {
  return new Promise((resolve, reject) => {
    const tokens: number[] = [];
    let report: PromptReport | undefined;
    core.generate(of, {
      start: (given) => {
        report = given;
      },
      token: (token) => tokens.push(token),
      end: () => resolve({ tokens, report: report as PromptReport }),
      error: reject,
    });
  });
}

/** Asks for other prompts until nothing of the first is left above the store. */
async function crowdOut(core: EngineCore, seed: number): Promise<void> {
  for (let other = 0; other < 4; other++) await generate(core, request(randomTokens(PROMPT_TOKENS, seed + other)));
  const written = () => core.counters().store?.writtenBytes ?? 0;
  let before = -1;
  await expect
    .poll(
      () => {
        const still = written() === before && written() > 0;
        before = written();
        return still;
      },
      { timeout: 10_000, interval: 100 },
    )
    .toBe(true);
}

describe('an engine with a store', { timeout: 60_000 }, () => {
  it('takes up what host memory gave up, with the same tokens as if it had stayed', async () => {
    const core = await engine('one', { store: await storeIn('one') });
    const events: KvEvent[] = [];
    core.onEvent(({ event }) => events.push(event));
    const prompt = randomTokens(PROMPT_TOKENS, 1);
    const expected = await generate(plain, request(prompt));
    expect((await generate(core, request(prompt))).tokens).toEqual(expected.tokens);
    await crowdOut(core, 100);
    const again = await generate(core, request(prompt));
    expect(again.tokens).toEqual(expected.tokens);
    expect(again.report.reused.store).toBeGreaterThan(REUSABLE / 2);
    const { reused, computed } = again.report;
    expect(reused.hbm + reused.host + reused.store + computed).toBe(PROMPT_TOKENS);
    expect(again.report.onboard).toMatchObject({ blocks: reused.store / 16, bytes: reused.store * 1024, failed: null });
    // One copy moves many blocks.
    expect((again.report.onboard?.copies ?? 0) * 3).toBeLessThan(reused.store / 16);
    expect(core.counters().store).toMatchObject({ onboarded: 1, corrupt: 0, droppedBlocks: 0 });
    expect(core.load().kv.store).toMatchObject({ kind: 'folder', reason: 'Ready' });
    const stored = events.flatMap((event) => (event.type === 'stored' && event.tier === 'store' ? event.keys : []));
    expect(new Set(stored).size).toBe(stored.length);
    expect(new Set(core.snapshot().tiers.store)).toEqual(new Set(stored));
  });

  it('writes only what is new when the conversation goes on', async () => {
    const core = await engine('grows', { store: await storeIn('grows') });
    const prompt = randomTokens(PROMPT_TOKENS, 2);
    await generate(core, request(prompt));
    await crowdOut(core, 200);
    await generate(core, request(Int32Array.from([...prompt, ...randomTokens(160, 3)])));
    const before = core.counters().store?.writtenBytes ?? 0;
    await crowdOut(core, 300);
    // Four new prompts and 10 blocks, but not the prompt again. What is in HBM and host at the end is not written.
    const written = (core.counters().store?.writtenBytes ?? 0) - before;
    expect(written).toBeLessThan((4 * 31 + 12) * 16_384 * 1.05);
  });

  it('finds damage, says so, and computes: the same tokens', async () => {
    const core = await engine('damaged', { store: await storeIn('damaged') });
    const prompt = randomTokens(PROMPT_TOKENS, 4);
    const expected = await generate(plain, request(prompt));
    await generate(core, request(prompt));
    await crowdOut(core, 400);
    for (const name of readdirSync(join(folder, 'damaged')).filter((file) => file.endsWith('.kv'))) {
      const path = join(folder, 'damaged', name);
      const bytes = readFileSync(path);
      bytes[bytes.length - 5_000] = (bytes[bytes.length - 5_000] as number) ^ 4;
      writeFileSync(path, bytes);
    }
    const again = await generate(core, request(prompt));
    expect(again.tokens).toEqual(expected.tokens);
    expect(again.report.reused.store).toBe(0);
    expect(again.report.onboard?.failed).toMatch(/damaged \(the checksum of block \d+ is wrong\) and is removed/);
    const verdict = await core.verify?.();
    expect(verdict?.host.bad).toEqual([]);
    expect(verdict?.store?.bad.length).toBeGreaterThan(0);
    expect((await core.verify?.())?.store?.bad).toEqual([]);
  });

  it('keeps tenants apart', async () => {
    const core = await engine('tenants', { store: await storeIn('tenants') });
    const prompt = randomTokens(PROMPT_TOKENS, 5);
    await generate(core, request(prompt, { salt: 'a' }));
    await crowdOut(core, 500);
    expect((await generate(core, request(prompt, { salt: 'b' }))).report.reused).toEqual({ hbm: 0, host: 0, peer: 0, store: 0 });
    await crowdOut(core, 600);
    expect((await generate(core, request(prompt, { salt: 'a' }))).report.reused.store).toBeGreaterThan(0);
  });

  it('a new life of the instance starts with what the last one stored', async () => {
    const first = await engine('life', { store: await storeIn('life') });
    const prompt = randomTokens(PROMPT_TOKENS, 6);
    const expected = await generate(first, request(prompt));
    await crowdOut(first, 700);
    const second = await engine('life', { store: await storeIn('life') });
    const again = await generate(second, request(prompt));
    expect(again.report.reused.store).toBeGreaterThan(REUSABLE / 2);
    expect(again.tokens).toEqual(expected.tokens);
  });
});
