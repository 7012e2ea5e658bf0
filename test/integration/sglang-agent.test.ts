/** `sluice engine --type sglang` beside a program that behaves like SGLang in what its agent sees. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { writeModelFiles } from '../../src/engines/agent/fakevllm.fixture.ts';
import { writeFakeSglang } from '../../src/engines/sglang/fakesglang.fixture.ts';

// Starting a process takes seconds on a machine that has other things to do.
vi.setConfig({ testTimeout: 60_000 });

const POLL = { timeout: 30_000, interval: 20 };
let folder: string;
let agent: ChildProcess;
let said: string;
let messages: { readonly type: string; readonly url?: string; readonly transfer?: object }[];
let exited: Promise<number | null>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sglang-test-'));
  writeModelFiles(folder);
  said = '';
  messages = [];
});

afterEach(async () => {
  agent.kill('SIGKILL');
  await exited;
  rmSync(folder, { recursive: true });
});

function start(...args: string[]): void {
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
  const flags = ['engine', '--type', 'sglang', '--model', folder, '--accelerator', 'nvidia-h100', ...args];
  agent = spawn(process.execPath, [main, ...flags], {
    env: { ...process.env, SLUICE_SGLANG: writeFakeSglang(folder), CUDA_VISIBLE_DEVICES: '0' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  agent.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  agent.on('message', (message: (typeof messages)[number]) => messages.push(message));
  // It may be gone before its last words are read.
  const read = new Promise((resolve) => agent.stderr?.on('end', resolve));
  const code = new Promise<number | null>((resolve) => agent.on('exit', resolve));
  exited = Promise.all([code, read]).then(([one]) => one);
}

const typesSeen = () => messages.map(({ type }) => type);
const get = async (path: string) => (await fetch(`${messages[0]?.url}${path}`)).text();

it('starts, describes and ends a prefill instance', async () => {
  start('--role', 'prefill', '--block-tokens', '32');
  await expect.poll(() => typesSeen(), POLL).toContain('ready');
  expect(JSON.parse(await get('/sluice/info'))).toMatchObject({
    engine: 'sglang',
    dialect: 'bootstrap',
    role: 'prefill',
    requestUrl: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    identity: { layout: 'sglang/0.5.18', blockTokens: 32 },
    transfer: messages[0]?.transfer,
    leaseMs: null,
  });
  const page = await get('/metrics');
  expect(page).toContain('sglang:num_running_reqs');
  expect(page).toMatch(/^vllm:kv_cache_usage_perc\{.*\} 0\.5$/m);
  agent.kill('SIGTERM');
  expect(await exited).toBe(0);
});

it('is not ready while SGLang says 503, and takes that for no death', async () => {
  const loading = join(folder, 'loading');
  writeFileSync(loading, '');
  start('--role', 'decode');
  await expect.poll(() => typesSeen(), POLL).toContain('listening');
  expect((await fetch(`${messages[0]?.url}/health`)).status).toBe(503);
  rmSync(loading);
  await expect.poll(() => typesSeen(), POLL).toContain('ready');
  expect((await fetch(`${messages[0]?.url}/health`)).status).toBe(200);
});

it('refuses what would part it from its peers, before anything is started', async () => {
  start('--engine-arg=--page-size=64');
  expect(await exited).toBe(1);
  expect(said).toContain('no --page-size, which Sluice sets from the other fields: remove it');
  expect(said).not.toContain('fake sglang');
});
