/** `sluice kv` on a deployment whose engines have a store on disk: what it shows is so. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KvBlocks, KvVerified, KvView, KvWhere, RequestRecord, TopView } from '../../src/router/index.ts';
import { type Sandbox, type SluiceProcess, sandbox, until } from './up-process.ts';

let box: Sandbox;
let sluice: SluiceProcess;
let url: string;
let folder: string;

/** HBM for two prompts, host memory for two more, and the rest in the store. Computing is as slow as with a large model. */
const manifest = (store: string) => `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: kept}
spec:
  model: {name: simulated}
  engine: {type: sim, contextTokens: 2048, maxSequences: 4, sim: {costs: {prefillPerToken: 1}}}
  decode: {replicas: 1}
  kv:
    hbm: {capacity: 1Mi}
    host: {capacity: 1Mi}
    store: {directory: {path: ${store}}, capacity: 64Mi}
  router: {port: 0}
`;

beforeAll(async () => {
  box = sandbox();
  folder = join(box.folder, 'store');
  mkdirSync(folder);
  const file = join(box.folder, 'deployment.yaml');
  writeFileSync(file, manifest(folder));
  sluice = box.run(['up', '-f', file]);
  const [, found] = await sluice.line(/is ready at (http:\/\/\S+)\/v1/);
  url = found ?? '';
});
afterAll(async () => {
  sluice.kill('SIGTERM');
  await sluice.exit;
  await box.close();
});

async function command(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const run = box.run(args);
  const { code } = await run.exit;
  return { code, stdout: run.stdout(), stderr: run.stderr() };
}

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, code, stderr } = await command(...args, '--json');
  expect({ code, stderr }).toMatchObject({ code: expect.any(Number), stderr: '' });
  return JSON.parse(stdout) as T;
}

/** About 1,000 tokens that only this `name` has. */
async function ask(name: string): Promise<{ id: string; text: string }> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'simulated', prompt: `${name} `.padEnd(4_000, `${name}-`), max_tokens: 4, temperature: 0 }),
  });
  const body = (await response.json()) as { choices: [{ text: string }] };
  expect(response.status).toBe(200);
  return { id: response.headers.get('x-request-id') ?? '', text: body.choices[0].text };
}

describe('sluice kv', () => {
  it('shows where blocks went when there was no room, and that they came back', async () => {
    const first = await ask('first');
    for (let other = 0; other < 14; other++) await ask(`other-${other}`);
    let away = await json<KvWhere>('kv', 'where', first.id);
    await until(async () => {
      away = await json<KvWhere>('kv', 'where', first.id);
      return (away.places[0]?.store ?? 0) > away.blocks / 2;
    });
    expect(away).toMatchObject({ kind: 'request', blocks: expect.any(Number), places: [{ hbm: 0, by: 'engine' }] });
    const again = await ask('first');
    expect(again.text).toBe(first.text);
    const record = await json<RequestRecord>('explain', again.id);
    expect(record.attempts[0]?.decode?.report?.reused?.store).toBeGreaterThan(500);
    const explained = (await command('explain', again.id)).stdout;
    expect(explained).toMatch(/store \(decode\): predicted [\d.]+ ms, measured [\d.]+ ms; \d+ blocks, \d+ bytes in \d copies/);
    const back = await json<KvWhere>('kv', 'where', again.id);
    expect(back.places[0]).toMatchObject({ hbm: back.blocks, held: back.blocks });
  });

  it('lists instances, and the keys of one, each of which it finds', async () => {
    const view = await json<KvView>('kv', 'stat');
    const [instance] = view.instances;
    expect(instance?.tiers.store).toMatchObject({ kind: 'folder', reason: 'Ready', capacityBytes: 64 * 2 ** 20 });
    expect(instance?.promptTokens.store).toBeGreaterThan(500);
    const blocks = await json<KvBlocks>('kv', 'ls', instance?.id ?? '');
    const key = blocks.tiers.store?.keys[0] ?? '';
    expect(key).toMatch(/^[0-9a-f]{32}$/);
    expect(await json<KvWhere>('kv', 'where', key)).toMatchObject({ kind: 'key', blocks: 1, places: [{ store: 1 }] });
    const text = await command('kv', 'ls');
    expect(text.stdout).toMatch(/instance +role +HBM +host +store/);
    expect((await command('kv', 'stat')).stdout).toMatch(/store \(folder\) +\S+ \S+ +64\.0 MiB/);
    const top = await json<TopView>('top');
    expect(top.instances[0]?.store).toMatchObject({ kind: 'folder' });
    expect((await command('top', '--once')).stdout).toMatch(/KV store/);
  });

  it('finds damage on disk, once', async () => {
    expect((await command('kv', 'verify')).stdout).toMatch(/host \d+ blocks.*store \d+ blocks in \d+ groups.*all is well/);
    const name = readdirSync(folder).find((one) => one.endsWith('.kv')) ?? '';
    const bytes = readFileSync(join(folder, name));
    bytes[bytes.length - 9] = (bytes[bytes.length - 9] as number) ^ 1;
    writeFileSync(join(folder, name), bytes);
    const damaged = await command('kv', 'verify');
    expect(damaged.code).toBe(3);
    expect(damaged.stdout).toMatch(/1 damaged, removed\n +store group \S+: a stored group was damaged/);
    const after = await json<KvVerified>('kv', 'verify');
    expect(after.instances).toMatchObject([{ verdict: { host: { bad: [] }, store: { bad: [] } } }]);
  });

  it('says what to do instead of what cannot be done', async () => {
    expect(await command('kv', 'find')).toMatchObject({ code: 2, stderr: expect.stringContaining('there is stat, ls, where, verify') });
    expect(await command('kv', 'where')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Give the key of a block or the id of a request'),
    });
    expect(await command('kv', 'where', 'nothing')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no record of request nothing'),
    });
    expect(await command('kv', 'ls', 'nobody')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/no instance nobody; there is: \S+/),
    });
    expect(await command('kv', 'stat', '--name', 'other')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no deployment named "other"'),
    });
    expect((await command('kv', '--help')).stdout).toMatch(/stat +bytes per tier.*\n.*ls \[instance\]/);
    expect((await command('kv', 'verify', '--help')).stdout).toMatch(/Exit code: 0 all is well, 3 damage/);
  });

  it('has metrics of the tiers', async () => {
    const { instances } = (await (await fetch(`${adminUrl()}/admin/instances`)).json()) as { instances: [{ url: string }] };
    const text = await (await fetch(`${instances[0].url}/metrics`)).text();
    expect(text).toMatch(/sluice_kv_held_bytes\{tier="store",.*\} [1-9]/);
    expect(text).toMatch(/sluice_kv_store_ready\{.*\} 1/);
    expect(text).toMatch(/sluice_kv_store_read_bytes_total\{.*\} [1-9]/);
  });
});

function adminUrl(): string {
  const [name] = box.runStates();
  return (JSON.parse(readFileSync(join(box.folder, 'sluice', name ?? ''), 'utf8')) as { adminUrl: string }).adminUrl;
}
