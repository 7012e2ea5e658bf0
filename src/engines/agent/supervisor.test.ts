import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { systemClock } from '../../shared/index.ts';
import { type FakeMode, isAlive, writeFakeVllm } from './fakevllm.fixture.ts';
import { pickPorts } from './ports.ts';
import { type SupervisedEngine, superviseEngine } from './supervisor.ts';

// Starting a process takes seconds on a machine that has other things to do.
vi.setConfig({ testTimeout: 60_000 });

let folder: string;
let executable: string;
const lines: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vllm-test-'));
  executable = writeFakeVllm(folder);
  lines.length = 0;
});

afterEach(() => rmSync(folder, { recursive: true }));

async function start(mode: FakeMode): Promise<SupervisedEngine> {
  const { http } = await pickPorts('127.0.0.1');
  const args = ['serve', '--host', '127.0.0.1', '--port', String(http)];
  return superviseEngine({
    title: 'vLLM',
    executable,
    args,
    env: { FAKE_VLLM: mode },
    clock: systemClock,
    onLine: (line) => lines.push(line),
  });
}

/** Its other process, once it has told of it. */
async function coreOf(seen: readonly string[] = lines): Promise<number> {
  await expect.poll(() => seen.join('\n'), { timeout: 20_000 }).toContain(' core ');
  return Number(/ core (\d+)/.exec(seen.join('\n'))?.[1]);
}

/** The kernel ends the processes of a group one by one, and this one is not ours to wait for. */
async function expectGone(pid: number): Promise<void> {
  await expect.poll(() => isAlive(pid), { timeout: 20_000 }).toBe(false);
}

it('ends all of it with SIGTERM', async () => {
  const vllm = await start('well');
  const core = await coreOf();
  expect(isAlive(core)).toBe(true);
  vllm.end(5_000);
  expect(await vllm.ended).toMatch(/^vLLM ended \(exit code 0\)/);
  expect(isAlive(vllm.pid)).toBe(false);
  await expectGone(core);
  expect(vllm.writtenBytes).toBeGreaterThan(0);
});

it('ends what does not listen to SIGTERM, and its children', async () => {
  const vllm = await start('stubborn');
  const core = await coreOf();
  vllm.end(50);
  expect(await vllm.ended).toMatch(/killed by SIGKILL/);
  await expectGone(core);
});

it('takes the rest along when the first process dies', async () => {
  const vllm = await start('well');
  const core = await coreOf();
  process.kill(vllm.pid, 'SIGKILL');
  await vllm.ended;
  await expect.poll(() => isAlive(core)).toBe(false);
});

it('says why it ended', async () => {
  expect(await (await start('dies')).ended).toBe('vLLM ended (exit code 1): ValueError: no room for 5 GiB of KV');
  expect(lines).toHaveLength(2);
});

it('says that there is no such program', async () => {
  executable = '/nowhere/vllm';
  expect(await (await start('well')).ended).toBe('vLLM could not be started: there is no /nowhere/vllm');
});

it('leaves nothing when the supervising process is killed', async () => {
  const { http } = await pickPorts('127.0.0.1');
  const here = new URL('.', import.meta.url);
  const program = `
    import { superviseEngine } from ${JSON.stringify(new URL('supervisor.ts', here).href)};
    import { systemClock } from ${JSON.stringify(new URL('../../shared/index.ts', here).href)};
    const args = ['serve', '--host', '127.0.0.1', '--port', '${http}'];
    const options = { executable: ${JSON.stringify(executable)}, args, env: {}, clock: systemClock };
    const vllm = superviseEngine({ ...options, onLine: (line) => console.log(line) });
    console.log('group ' + vllm.pid);
    setInterval(() => {}, 1000);
  `;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const said: string[] = [];
  agent.stdout.setEncoding('utf8').on('data', (text: string) => said.push(text));
  const core = await coreOf(said);
  const group = Number(/group (\d+)/.exec(said.join(''))?.[1]);
  expect([isAlive(core), isAlive(group)]).toEqual([true, true]);
  agent.kill('SIGKILL');
  await expect.poll(() => [isAlive(core), isAlive(group)], { timeout: 20_000 }).toEqual([false, false]);
});
