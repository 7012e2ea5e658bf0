/** What lies in the store counts when a prompt is placed: the router knows of it after all instances were restarted with nothing in memory. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { Role, SimOptions } from '../../src/engines/index.ts';
import { openFolderStore } from '../../src/kv/index.ts';
import { explainRecord, type RequestRecord } from '../../src/router/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { Bed, connected, type EngineHandle, MODEL, recordAt, startEngine, startTestRouter } from './router-fixture.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A prompt takes half a second to compute, as with a large model; HBM and host memory hold two of them each. */
const MS_PER_TOKEN = 0.5;
const PROMPT_TOKENS = 1024;
const SLOW: Partial<SimOptions> = {
  contextTokens: 2048,
  hbmBytes: 130 * 4096,
  hostBytes: 128 * 4096,
  costs: {
    prefillFixed: 0,
    prefillPerToken: MS_PER_TOKEN,
    prefillPerTokenContext: 0,
    stepFixed: 0,
    stepPerSequence: 0,
    stepPerContextToken: 0,
  },
};

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-router-store-'));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function engineOn(path: string, id: string, role: Role = 'mixed'): Promise<EngineHandle> {
  const store = await openFolderStore({ path, capacityBytes: 64 << 20, clock: systemClock });
  return startEngine(id, role, { ...SLOW, store });
}

/** 4 bytes are a token. */
const promptOf = (number: number) => `document ${String(number).padStart(3, '0')}: `.padEnd(4 * PROMPT_TOKENS, `${number} and so on. `);

/** Computes the first prompts there until the last ones have pushed them out of memory. */
async function fill(engine: EngineHandle, prompts: readonly number[]): Promise<void> {
  for (const number of [...prompts, 90, 91, 92, 93, 94]) {
    const body = JSON.stringify({ model: MODEL, prompt: promptOf(number), max_tokens: 1 });
    await (await fetch(`${engine.directUrl}/v1/completions`, { method: 'POST', body })).text();
  }
  const wanted = prompts.length * (PROMPT_TOKENS / 16) * 4096;
  await expect.poll(() => engine.core.counters().store?.writtenBytes, { timeout: 10_000 }).toBeGreaterThanOrEqual(wanted);
}

async function bedOf(engines: readonly EngineHandle[]): Promise<Bed> {
  const bed = new Bed(engines, await startTestRouter({}));
  ends.push(() => bed.close());
  await bed.publish();
  await connected(bed, engines.length);
  await bed.ready();
  return bed;
}

let asked = 0;
async function ask(bed: Bed, prompt: string): Promise<RequestRecord> {
  asked += 1;
  const id = `stored-${asked}`;
  const body = { model: MODEL, prompt, max_tokens: 2, temperature: 0, stream: true };
  const answer = await bed.post('/v1/completions', body, { 'x-request-id': id });
  await answer.text();
  expect(answer.status).toBe(200);
  return recordAt(bed.router.adminUrl, id);
}

const chosen = ({ attempts }: RequestRecord) => {
  const decision = attempts[0]?.decision.chosen;
  if (!decision) throw new Error('it was not placed');
  return decision;
};

/** What was predicted before the store counted: nothing is held, so all is computed. */
const COMPUTED_MS = PROMPT_TOKENS * MS_PER_TOKEN;

it('after a restart of all instances a prompt is read from the store, and predicted to be', async () => {
  const path = newFolder();
  const bed = await bedOf([await engineOn(path, 'mixed-0'), await engineOn(path, 'mixed-1')]);
  await fill(bed.engine('mixed-0'), [1, 2]);
  await Promise.all(bed.engines.splice(0).map((engine) => engine.close()));
  bed.engines.push(await engineOn(path, 'mixed-0'), await engineOn(path, 'mixed-1'));
  await bed.publish();
  await connected(bed, 2);
  for (const number of [1, 2]) {
    const record = await ask(bed, promptOf(number));
    const { cachedBlocks, storedBlocks, ttftMs, terms } = chosen(record);
    expect(cachedBlocks).toBe(0);
    expect(storedBlocks).toBeGreaterThan(50);
    expect(terms.onboardMs).toBeGreaterThan(0);
    const report = record.attempts[0]?.decode?.report;
    expect(report?.reused?.store).toBeGreaterThanOrEqual((storedBlocks - 1) * 16);
    // Not held against what was measured, which a busy machine makes as long as it likes.
    expect(ttftMs).toBeLessThan(COMPUTED_MS / 4);
  }
  // A prompt that nobody has seen is predicted to be computed.
  expect(chosen(await ask(bed, promptOf(3)))).toMatchObject({ storedBlocks: 0, terms: { onboardMs: 0 } });
});

it('a prompt goes to the instance whose own store has it', async () => {
  const [own, other] = [newFolder(), newFolder()];
  const writer = await engineOn(own, 'writer');
  await fill(writer, [1, 2, 3, 4]);
  await writer.close();
  const bed = await bedOf([await engineOn(other, 'mixed-0'), await engineOn(own, 'mixed-1'), await engineOn(other, 'mixed-2')]);
  for (const number of [1, 2, 3, 4]) {
    const { decode, storedBlocks } = chosen(await ask(bed, promptOf(number)));
    expect({ decode, reads: storedBlocks > 50 }).toEqual({ decode: 'mixed-1', reads: true });
  }
});

it('a decode instance takes alone what it can read, and a pair takes what must be computed', async () => {
  const path = newFolder();
  const writer = await engineOn(path, 'writer');
  await fill(writer, [1]);
  await writer.close();
  const bed = await bedOf([await engineOn(path, 'prefill-0', 'prefill'), await engineOn(path, 'decode-0', 'decode')]);
  expect(chosen(await ask(bed, promptOf(1)))).toMatchObject({ prefill: null, decode: 'decode-0' });
  expect(chosen(await ask(bed, promptOf(2)))).toMatchObject({ prefill: 'prefill-0', decode: 'decode-0', storedBlocks: 0 });
});

it('what the store has lost is computed, and explained', async () => {
  const path = newFolder();
  const bed = await bedOf([await engineOn(path, 'mixed-0')]);
  await fill(bed.engine('mixed-0'), [1]);
  // What is being written beside them is none of its groups yet.
  for (const name of readdirSync(path).filter((one) => one.endsWith('.kv'))) rmSync(join(path, name), { force: true });
  const lost = await ask(bed, promptOf(1));
  expect(chosen(lost).storedBlocks).toBeGreaterThan(50);
  expect(lost.attempts[0]?.decode?.report).toMatchObject({ computed: PROMPT_TOKENS, reused: { store: 0 } });
  expect(explainRecord(lost)).toMatch(/^store \(decode\): predicted [\d.]+ ms, (?:nothing was read|measured .* a stored group is gone)$/m);
});
