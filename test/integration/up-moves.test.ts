/** Scaling down and rolling under `sluice up`, and `sluice kv drain`: running streams go elsewhere, and nobody waits for their end. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RequestRecord } from '../../src/router/index.ts';
import { json } from './fleet.ts';
import { type Sandbox, type SluiceProcess, sandbox, until } from './up-process.ts';

let box: Sandbox;
let file: string;

beforeEach(() => {
  box = sandbox();
  file = join(box.folder, 'deployment.yaml');
});
afterEach(() => box.close());

function save({ decode, sequences = 16 }: { decode: number; sequences?: number }): void {
  const text = `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: test}
spec:
  model: {name: simulated}
  engine: {type: sim, maxSequences: ${sequences}, sim: {costs: {stepFixed: 20}}}
  prefill: {replicas: 1}
  decode: {replicas: ${decode}}
  router: {port: 0}
`;
  writeFileSync(`${file}.tmp`, text);
  renameSync(`${file}.tmp`, file);
}

const TOKENS = 1000;

async function stream(url: string, id: string, tokens = TOKENS): Promise<{ text: string; endedAt: number }> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': id },
    body: JSON.stringify({ model: 'simulated', prompt: 'hello '.repeat(80), max_tokens: tokens, ignore_eos: true, seed: 1, stream: true }),
  });
  const events = (await response.text()).split('\n\n');
  expect(events.at(-2)).toBe('data: [DONE]');
  const texts = events.slice(0, -2).map((event) => JSON.parse(event.slice(6)).choices[0].text as string);
  return { text: texts.join(''), endedAt: performance.now() };
}

async function up(decode: number): Promise<{ sluice: SluiceProcess; url: string }> {
  save({ decode });
  const sluice = box.run(['up', '-f', file]);
  const [, url] = await sluice.line(/is ready at (http:\/\/\S+)\/v1/);
  return { sluice, url: url ?? '' };
}

/** Ids of the decode instances that have streams. */
async function decoding(adminUrl: string): Promise<string[]> {
  const { instances } = await json<{ instances: { id: string; inFlight: number }[] }>(`${adminUrl}/admin/instances`);
  return instances.filter(({ id, inFlight }) => id.startsWith('decode') && inFlight > 0).map(({ id }) => id);
}

async function adminOf(): Promise<string> {
  const { readFileSync } = await import('node:fs');
  const [name] = box.runStates();
  return JSON.parse(readFileSync(join(box.folder, 'sluice', name ?? ''), 'utf8')).adminUrl;
}

it('scaling down and rolling: instances end long before their streams would have', { timeout: 90_000 }, async () => {
  const { sluice, url } = await up(2);
  const adminUrl = await adminOf();
  const expected = (await stream(url, 'first', 200)).text;
  const streams = [stream(url, 'a'), stream(url, 'b')];
  await until(async () => (await decoding(adminUrl)).length === 2);
  const after = sluice.stdout().length;
  save({ decode: 1 });
  await sluice.line(/is as wanted again/, after);
  const scaledAt = performance.now();
  const rolled = sluice.stdout().length;
  save({ decode: 1, sequences: 8 });
  await sluice.line(/is as wanted again/, rolled);
  const rolledAt = performance.now();
  const said = await Promise.all(streams);
  for (const { text, endedAt } of said) {
    expect(text.startsWith(expected)).toBe(true);
    expect(endedAt).toBeGreaterThan(scaledAt);
    expect(endedAt).toBeGreaterThan(rolledAt);
  }
  expect(said[0]?.text).toBe(said[1]?.text);
  const records = await Promise.all(['a', 'b'].map((id) => json<RequestRecord>(`${adminUrl}/admin/requests/${id}`)));
  const moves = records.flatMap((record) => record.moves).filter(({ state }) => state === 'released');
  // One for the instance that was too many, two for the one that was replaced.
  expect(moves.length).toBeGreaterThanOrEqual(3);
  expect(records.map(({ resumes }) => resumes)).toEqual([0, 0]);
});

it('sluice kv drain moves what is on an instance, and says so', { timeout: 60_000 }, async () => {
  const { url } = await up(2);
  const adminUrl = await adminOf();
  const proven = async () => (await json<{ instances: { proven: boolean }[] }>(`${adminUrl}/admin/instances`)).instances;
  // Until then the router has requests of its own on them.
  await until(async () => (await proven()).every((one) => one.proven));
  const asked = stream(url, 'c');
  let busy: readonly string[] = [];
  await until(async () => {
    busy = await decoding(adminUrl);
    return busy.length === 1;
  });
  const [instance] = busy;
  const drained = box.run(['kv', 'drain', instance ?? '']);
  expect((await drained.exit).code).toBe(0);
  expect(drained.stdout()).toMatch(/^decode-\d: 1 stream moved in \d+\.\d s\nnothing is left on it\n$/);
  const again = box.run(['kv', 'drain', instance ?? '', '--undo']);
  expect((await again.exit).code).toBe(0);
  const wrong = box.run(['kv', 'drain', 'decode-7']);
  expect((await wrong.exit).code).toBe(1);
  expect(wrong.stderr()).toContain('no instance decode-7');
  await asked;
  const explained = box.run(['explain', 'c']);
  await explained.exit;
  expect(explained.stdout()).toMatch(/move at .*: decode-\d → decode-\d, after \d+ tokens: sluice kv drain/);
});
