import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type FakeMode, isAlive, writeFakeVllm, writeModelFiles } from '../../src/engines/agent/fakevllm.fixture.ts';

// Starting a process takes seconds on a machine that has other things to do.
vi.setConfig({ testTimeout: 60_000 });

const POLL = { timeout: 30_000, interval: 20 };
let folder: string;
let agent: ChildProcess;
let said: string;
let messages: unknown[];
let exited: Promise<number | null>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vllm-test-'));
  writeModelFiles(folder);
  said = '';
  messages = [];
});

afterEach(async () => {
  agent.kill('SIGKILL');
  await exited;
  rmSync(folder, { recursive: true });
});

function start(mode: FakeMode, ...args: string[]): void {
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
  const flags = ['engine', '--type', 'vllm', '--model', folder, '--vllm', writeFakeVllm(folder), ...args];
  agent = spawn(process.execPath, [main, ...flags], {
    env: { ...process.env, FAKE_VLLM: mode },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  agent.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  agent.on('message', (message) => messages.push(message));
  // It may be gone before its last words are read.
  const read = new Promise((resolve) => agent.stderr?.on('end', resolve));
  const code = new Promise<number | null>((resolve) => agent.on('exit', resolve));
  exited = Promise.all([code, read]).then(([one]) => one);
}

async function coreOf(): Promise<number> {
  await expect.poll(() => said, POLL).toMatch(/ core \d+\n/);
  return Number(/ core (\d+)/.exec(said)?.[1]);
}

it('tells its address before vLLM is up, and ends with SIGTERM while it starts', async () => {
  start('never');
  const core = await coreOf();
  await expect.poll(() => messages, POLL).toHaveLength(1);
  expect(messages[0]).toEqual({
    type: 'listening',
    url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    transfer: { host: '127.0.0.1', port: expect.any(Number) },
    incarnation: expect.stringMatching(/^[0-9a-f-]{36}$/),
  });
  agent.kill('SIGTERM');
  expect(await exited).toBe(0);
  // Who dies has closed its pipes before it is gone.
  await expect.poll(() => isAlive(core), POLL).toBe(false);
});

it('fails with the reason of vLLM', async () => {
  start('dies');
  expect(await exited).toBe(1);
  expect(said).toContain('\nsluice engine: vLLM ended (exit code 1): ValueError: no room for 5 GiB of KV\n');
});

it('refuses arguments that would part it from its peers, without a start', async () => {
  start('well', '--engine-arg=--block-size', '--engine-arg=16');
  expect(await exited).toBe(1);
  expect(said).toBe('sluice engine: --block-size (given: 16): no --block-size, which Sluice sets from the other fields: remove it\n');
});

it('ends vLLM when the process that started it is gone', async () => {
  start('never');
  const core = await coreOf();
  agent.disconnect();
  expect(await exited).toBe(0);
  // Who dies has closed its pipes before it is gone.
  await expect.poll(() => isAlive(core), POLL).toBe(false);
});

it('leaves no vLLM when it is killed', async () => {
  start('never');
  const core = await coreOf();
  agent.kill('SIGKILL');
  await expect.poll(() => isAlive(core), POLL).toBe(false);
});
