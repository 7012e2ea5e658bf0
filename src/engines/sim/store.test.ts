import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { blockKeys, chainSeed, type KvBlock, keyHexes, kvBlock, openFolderStore } from '../../kv/index.ts';
import { type Clock, systemClock } from '../../shared/index.ts';
import type { EngineCore, EngineRequest, GenerateSink, HandOffTicket, PromptReport } from '../port.ts';
import { silentPeer, slowTime } from '../slow.fixture.ts';
import { createSimEngine } from './engine.ts';
import type { SimOptions } from './options.ts';

const folders: string[] = [];
const engines: EngineCore[] = [];

afterEach(async () => {
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** As slow to compute as a large model, as quick to speak as none. */
const LARGE = {
  prefillFixed: 0,
  prefillPerToken: 0.5,
  prefillPerTokenContext: 0,
  stepFixed: 0,
  stepPerSequence: 0,
  stepPerContextToken: 0,
};

/** Its store goes by `clock`. Room for two prompts of 1,024 tokens in HBM and for two below it. */
async function engineOf(path: string, options: Partial<SimOptions> = {}, clock: Clock = systemClock): Promise<EngineCore> {
  const store = await openFolderStore({ path, capacityBytes: 64 << 20, clock });
  const engine = await createSimEngine({
    instance: 's',
    role: 'mixed',
    modelName: 'm',
    clock: systemClock,
    store,
    contextTokens: 2048,
    hbmBytes: 130 * 4096,
    hostBytes: 128 * 4096,
    costs: LARGE,
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

function request(tokens: Int32Array): EngineRequest {
  const sampling = { temperature: 1, topP: 1, seed: 3, maxTokens: 4, ignoreEos: true, logprobs: null };
  return { id: 'r', prompt: tokens, resumed: new Int32Array(0), sampling, salt: '', ticket: null, pullDeadlineMs: 5_000 };
}

interface Answer {
  readonly report: PromptReport;
  readonly said: number[];
}

function ask(engine: EngineCore, tokens: Int32Array): Promise<Answer> {
  return answerOf((sink) => engine.generate(request(tokens), sink));
}

function answerOf(begin: (sink: GenerateSink) => void): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const said: number[] = [];
    let report: PromptReport | undefined;
    begin({
      start: (given) => {
        report = given;
      },
      token: (token) => said.push(token),
      end: () => resolve({ report: report as PromptReport, said }),
      error: reject,
    });
  });
}

/** Blocks of somebody else's. */
function chainOf(tokens: Int32Array): KvBlock[] {
  const keys = keyHexes(blockKeys(new Uint32Array(4), tokens, 16));
  return keys.map((key, index) =>
    kvBlock(key, keys[index - 1] ?? null, tokens.slice(index * 16, (index + 1) * 16), new Uint8Array(4096).fill(index)),
  );
}

/** Another engine has stored `prompt(1)` there. */
async function filledFolder(): Promise<string> {
  const path = newFolder();
  const writer = await engineOf(path);
  for (let other = 1; other < 7; other++) await ask(writer, prompt(other));
  await expect.poll(() => writer.counters().store?.writtenBytes).toBeGreaterThan(64 * 4096);
  return path;
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

it('keeps a pinned context in a store that everything else has to leave, until it is let go', async () => {
  const path = await filledFolder();
  const store = await openFolderStore({ path, capacityBytes: 1 << 20, clock: systemClock });
  const engine = await engineOf(path, { store });
  const pins = engine.pins as NonNullable<EngineCore['pins']>;
  const keys = keyHexes(blockKeys(chainSeed(engine.info.identity, ''), prompt(1), 16));
  // It is there already, as anything else.
  expect(await store.match(keys)).toBe(64);
  let others = 100;
  /** Others write four times what the store holds. */
  const crowdOut = async () => {
    for (let count = 0; count < 16; count += 1) expect(await store.write(chainOf(prompt(others++)))).toMatchObject({ written: 64 });
  };
  await expect.poll(() => pins.view().store?.capacityBytes).toBe(1 << 20);
  pins.pin({ id: 'a', digest: 'd', prompt: prompt(1), salt: '', tier: 'store', ttlMs: 600_000 });
  await expect.poll(() => pins.view().pins[0]?.state).toBe('Held');
  await expect.poll(() => pins.view().store?.pinnedBytes).toBeGreaterThan(64 * 4096);
  expect(pins.view()).toMatchObject({ pinnedBytes: 0, pins: [{ tier: 'store', blocks: 64, trouble: null }] });
  expect(pins.renew('a', 'd', 600_000)).toBe(true);
  await crowdOut();
  expect(await store.match(keys)).toBe(64);

  expect(pins.unpin('a')).toBe(true);
  await expect.poll(() => pins.view().store?.pinnedBytes).toBe(0);
  await crowdOut();
  expect(await store.match(keys)).toBe(0);
});

it('lets go in the store of a context that is let go while it is renewed', async () => {
  const store = await openFolderStore({ path: newFolder(), capacityBytes: 1 << 20, clock: systemClock });
  const engine = await engineOf(newFolder(), { store });
  const pins = engine.pins as NonNullable<EngineCore['pins']>;
  await expect.poll(() => pins.view().store?.capacityBytes).toBe(1 << 20);
  pins.pin({ id: 'a', digest: 'd', prompt: prompt(1), salt: '', tier: 'store', ttlMs: 600_000 });
  await expect.poll(() => pins.view().store?.pinnedBytes).toBeGreaterThan(64 * 4096);
  await expect.poll(() => pins.view().pins[0]?.state).toBe('Held');
  const { promise: slow, resolve: go } = Promise.withResolvers<void>();
  const marked: boolean[] = [];
  const mark = store.pin.bind(store);
  store.pin = async (keys, pinned) => {
    if (pinned) await slow;
    const groups = await mark(keys, pinned);
    marked.push(pinned);
    return groups;
  };
  pins.renew('a', 'd', 600_000);
  pins.unpin('a');
  await expect.poll(() => pins.view().store?.pinnedBytes).toBe(0);
  go();
  await expect.poll(() => marked).toEqual([false, true, false]);
  expect((await store.usage()).pinnedBytes).toBe(0);
});

it('says what is in the way of a context in the store', async () => {
  const store = await openFolderStore({ path: newFolder(), capacityBytes: 1 << 20, clock: systemClock });
  const engine = await engineOf(newFolder(), { store, bytesPerBlock: 16_384, hbmBytes: 130 * 16_384 });
  const pin = { id: 'a', digest: 'd', prompt: prompt(1), salt: '', tier: 'store', ttlMs: 600_000 } as const;
  await expect.poll(() => engine.pins?.view().store?.capacityBytes).toBe(1 << 20);
  engine.pins?.pin(pin);
  expect(engine.pins?.view().pins[0]?.trouble).toEqual({
    reason: 'DoesNotFit',
    message: 'its KV needs 1048576 bytes of a store of 1048576, of which one may take 524288',
  });
  const without = await engineOf(newFolder(), { store: null });
  without.pins?.pin(pin);
  expect(without.pins?.view()).toMatchObject({ store: null, pins: [{ state: 'Failed', trouble: { reason: 'NoStore' } }] });
});

it('notices at a renewal that the store has lost what was pinned', async () => {
  const folder = newFolder();
  const store = await openFolderStore({ path: folder, capacityBytes: 1 << 20, clock: systemClock });
  const engine = await engineOf(newFolder(), { store });
  const pins = engine.pins as NonNullable<EngineCore['pins']>;
  await expect.poll(() => pins.view().store?.capacityBytes).toBe(1 << 20);
  pins.pin({ id: 'a', digest: 'd', prompt: prompt(1), salt: '', tier: 'store', ttlMs: 600_000 });
  await expect.poll(() => pins.view().pins[0]?.state).toBe('Held');
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
  // Whoever reads it finds out.
  await store.verify(100);
  await expect
    .poll(() => {
      pins.renew('a', 'd', 600_000);
      return pins.view().pins[0]?.trouble?.reason;
    })
    .toBe('Refused');
});

it('does not ask the store for what a moved request has brought along', async () => {
  const path = await filledFolder();
  const [source, target] = [await engineOf(newFolder()), await engineOf(path)];
  const ticket = await new Promise<HandOffTicket>((resolve, reject) =>
    source.prefill(request(prompt(1)), { done: resolve, error: reject }),
  );
  const held = target.hold(request(prompt(1)));
  expect(await held.pull(ticket, 5_000)).toMatchObject({ blocks: 64, failed: null });
  const { report } = await answerOf((sink) => held.start(sink));
  expect(report).toMatchObject({ reused: { peer: 1023, store: 0 }, onboard: null });
});

it('gives the peer only the time that the store has left', async () => {
  const path = newFolder();
  const time = slowTime();
  const peer = await silentPeer();
  const engine = await engineOf(path, { clock: time.engine }, time.store);
  time.delay(400);
  const ask = { ...request(prompt(1)), ticket: peer.ticket(63), pullDeadlineMs: 300 };
  const { report } = await answerOf((sink) => engine.generate(ask, sink));
  peer.close();
  expect(report.handOff?.failed).toBe('deadline of 0 ms passed after 0 of 63 blocks');
  expect(report.computed).toBe(1024);
});

it('reads nothing when to ask what is stored took all the time', async () => {
  const time = slowTime();
  const engine = await engineOf(await filledFolder(), { clock: time.engine }, time.store);
  time.delay(400);
  const { report } = await answerOf((sink) => engine.generate({ ...request(prompt(1)), pullDeadlineMs: 300 }, sink));
  expect(report).toMatchObject({ onboard: null, computed: 1024 });
});

it('computes when that is free', async () => {
  const engine = await engineOf(newFolder(), { costs: { prefillFixed: 0, prefillPerToken: 0, prefillPerTokenContext: 0, stepFixed: 0 } });
  for (let other = 1; other < 7; other++) await ask(engine, prompt(other));
  expect((await ask(engine, prompt(1))).report.reused.store).toBe(0);
  expect(engine.counters().store).toMatchObject({ writtenBytes: 0, onboarded: 0 });
});
