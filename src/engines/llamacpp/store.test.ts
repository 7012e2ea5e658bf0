/** The store below a real engine: same tokens as without, whatever happens to what is stored. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BlockStore, type KvEvent, openFolderStore } from '../../kv/index.ts';
import { systemClock } from '../../shared/index.ts';
import type { EngineCore, EngineRequest } from '../port.ts';
import { silentPeer, slowTime } from '../slow.fixture.ts';
import type { LlamaCppOptions } from './options.ts';
import { BLOCK_BYTES, generate, randomTokens, SEEDED, TinyEngines, request as unseeded } from './tinyengines.fixture.ts';

const PROMPT_TOKENS = 496;
/** Whole blocks of a prompt but for the last token. */
const REUSABLE = 30 * 16;
const engines = new TinyEngines({ contextTokens: 1024 });
let plain: EngineCore;

beforeAll(async () => {
  plain = await engines.open('plain');
}, 120_000);
afterAll(() => engines.closeAll());

/** One context of HBM, and a host memory of one and a half prompts: the third prompt drives the first into the store. */
const openWith = (store: BlockStore, instance: string, change: Partial<LlamaCppOptions> = {}) =>
  engines.open(instance, { store, maxSequences: 2, hbmBytes: 1024 * 1024, hostBytes: 48 * BLOCK_BYTES, ...change });

const storeIn = (name: string, setup: object = {}) =>
  openFolderStore({ path: join(engines.folder, name), capacityBytes: 64 * 2 ** 20, clock: systemClock, ...setup });

const request = (prompt: Int32Array, change: Partial<EngineRequest> = {}) => unseeded(prompt, { sampling: SEEDED, ...change });

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
    const core = await openWith(await storeIn('one'), 'one');
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
    const core = await openWith(await storeIn('grows'), 'grows');
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
    const core = await openWith(await storeIn('damaged'), 'damaged');
    const prompt = randomTokens(PROMPT_TOKENS, 4);
    const expected = await generate(plain, request(prompt));
    await generate(core, request(prompt));
    await crowdOut(core, 400);
    for (const name of readdirSync(join(engines.folder, 'damaged')).filter((file) => file.endsWith('.kv'))) {
      const path = join(engines.folder, 'damaged', name);
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

  it('keeps what is pinned in a store that everything else has to leave, with the same tokens', async () => {
    const core = await openWith(await storeIn('pinned', { capacityBytes: 2 * 2 ** 20 }), 'pinned');
    const prompt = randomTokens(PROMPT_TOKENS, 6);
    const expected = await generate(plain, request(prompt));
    await expect.poll(() => core.pins?.view().store?.capacityBytes).toBe(2 * 2 ** 20);
    core.pins?.pin({ id: 'a', digest: 'd', prompt, salt: '', tier: 'store', ttlMs: 600_000 });
    await expect.poll(() => core.pins?.view().pins[0], { timeout: 10_000 }).toMatchObject({ state: 'Held', blocks: 31 });
    await crowdOut(core, 600);
    await crowdOut(core, 700);
    const again = await generate(core, request(prompt));
    expect(again.report.reused).toMatchObject({ hbm: 0, host: 0, store: REUSABLE });
    expect(again.tokens).toEqual(expected.tokens);
  });

  it('keeps tenants apart', async () => {
    const core = await openWith(await storeIn('tenants'), 'tenants');
    const prompt = randomTokens(PROMPT_TOKENS, 5);
    await generate(core, request(prompt, { salt: 'a' }));
    await crowdOut(core, 500);
    expect((await generate(core, request(prompt, { salt: 'b' }))).report.reused).toEqual({ hbm: 0, host: 0, peer: 0, store: 0 });
    await crowdOut(core, 600);
    expect((await generate(core, request(prompt, { salt: 'a' }))).report.reused.store).toBeGreaterThan(0);
  });

  it('a new life of the instance starts with what the last one stored', async () => {
    const first = await openWith(await storeIn('life'), 'life');
    const prompt = randomTokens(PROMPT_TOKENS, 6);
    const expected = await generate(first, request(prompt));
    await crowdOut(first, 700);
    const second = await openWith(await storeIn('life'), 'life');
    const again = await generate(second, request(prompt));
    expect(again.report.reused.store).toBeGreaterThan(REUSABLE / 2);
    expect(again.tokens).toEqual(expected.tokens);
  });

  it('waits for the store, a peer and the store again no longer than one deadline', async () => {
    const prompt = randomTokens(PROMPT_TOKENS, 9);
    const expected = await generate(plain, request(prompt));
    const writer = await openWith(await storeIn('late'), 'writer');
    await generate(writer, request(prompt));
    await crowdOut(writer, 900);
    const time = slowTime();
    const peer = await silentPeer();
    const core = await openWith(await storeIn('late', { clock: time.store }), 'late', { clock: time.engine });
    time.delay(400);
    const { tokens, report } = await generate(core, request(prompt, { ticket: peer.ticket(29), pullDeadlineMs: 300 }));
    peer.close();
    expect(tokens).toEqual(expected.tokens);
    expect(report.handOff?.failed).toBe('deadline of 0 ms passed after 0 of 29 blocks');
    // The store has it, but its time is over.
    expect(report.reused).toEqual({ hbm: 0, host: 0, peer: 0, store: 0 });
  });

  it('keeps the place in the line of a request whose blocks are on their way, and passes it when they are not there yet', async () => {
    const writer = await openWith(await storeIn('line'), 'line-writer');
    const prompt = randomTokens(PROMPT_TOKENS, 10);
    const expected = await generate(plain, request(prompt));
    await generate(writer, request(prompt));
    await crowdOut(writer, 1_000);
    /** What of it starts first when it comes behind a request of `tokens` tokens and before one that needs nothing. */
    const race = async (bytesPerSecond: number, tokens: number) => {
      const core = await openWith(await storeIn('line', { bytesPerSecond }), `line-${tokens}`, { maxSequences: 1 });
      const started: string[] = [];
      const ask = (name: string, of: EngineRequest) => generate(core, of, (said) => said.length === 1 && started.push(name));
      const first = ask('first', request(randomTokens(16, 11), { sampling: { ...SEEDED, maxTokens: tokens } }));
      const [back] = await Promise.all([ask('back', request(prompt)), ask('fresh', request(randomTokens(32, 12))), first]);
      expect(back.tokens).toEqual(expected.tokens);
      return { started, fromStore: back.report.reused.store };
    };
    const inTime = await race(8e6, 800);
    expect(inTime.started).toEqual(['first', 'back', 'fresh']);
    expect(inTime.fromStore).toBeGreaterThan(REUSABLE / 2);
    expect((await race(2.5e5, 2)).started).toEqual(['first', 'fresh', 'back']);
  });

  it('computes what a slow link would hold up, once it knows', async () => {
    const fast = await openWith(await storeIn('slow'), 'fast');
    const prompts = [randomTokens(PROMPT_TOKENS, 7), randomTokens(PROMPT_TOKENS, 8)] as const;
    const expected = await Promise.all(prompts.map((prompt) => generate(plain, request(prompt))));
    for (const prompt of prompts) await generate(fast, request(prompt));
    await crowdOut(fast, 800);
    // Half a megabyte of KV at a tenth of a megabyte per second. The first read finds out: it ends by its deadline, and what came is used.
    const slow = await openWith(await storeIn('slow', { bytesPerSecond: 1e5 }), 'slow');
    const first = await generate(slow, request(prompts[0], { pullDeadlineMs: 2_000 }));
    expect(first.tokens).toEqual(expected[0]?.tokens);
    expect(first.report.onboard?.failed).toMatch(/did not give all within \d+ ms/);
    const second = await generate(slow, request(prompts[1]));
    expect(second.tokens).toEqual(expected[1]?.tokens);
    expect(second.report.reused.store).toBe(0);
    expect(slow.counters().store).toMatchObject({ onboarded: 1, recomputed: 1 });
  });
});
