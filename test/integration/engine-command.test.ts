/** `sluice engine` as a process: start, signals, the parent's death, mistakes. Simulated engines, so that it is quick. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
  readonly stdout: string;
}

interface Hello {
  readonly type: string;
  readonly url: string;
  readonly transfer: { readonly host: string; readonly port: number };
  readonly incarnation: string;
}

function start(flags: readonly string[]): { child: ChildProcess; ended: Promise<Ended>; hello: Promise<Hello>; stderr: () => string } {
  const child = fork(MAIN, ['engine', ...flags], { silent: true });
  children.push(child);
  let stderr = '';
  let stdout = '';
  child.stderr?.on('data', (chunk) => {
    stderr += String(chunk);
  });
  child.stdout?.on('data', (chunk) => {
    stdout += String(chunk);
  });
  // Not `close`: it does not come for a child whose channel the parent closed.
  const exited = new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code)));
  const read = [child.stderr, child.stdout].map((output) => new Promise((resolve) => output?.on('end', resolve)));
  const ended = Promise.all([exited, ...read]).then(([code]) => ({ code, stderr, stdout }));
  const hello = new Promise<Hello>((resolve) => child.once('message', (message) => resolve(message as Hello)));
  return { child, ended, hello, stderr: () => stderr };
}

describe('sluice engine', () => {
  it('says where it listens, serves, drains on SIGTERM and exits 0', async () => {
    const { child, ended, hello, stderr } = start(['--type', 'sim', '--instance', 'e-1', '--costs', '{"stepFixed":5}']);
    const { url, transfer, incarnation, type } = await hello;
    expect({ type, transfer }).toEqual({ type: 'listening', transfer: { host: '127.0.0.1', port: expect.any(Number) } });
    const info = await (await fetch(`${url}/sluice/info`)).json();
    expect(info).toMatchObject({ instance: 'e-1', incarnation, simulated: true, transfer });
    expect(stderr().trim().split('\n')).toHaveLength(1);
    const body = JSON.stringify({ model: 'simulated', prompt: 'a', max_tokens: 60, ignore_eos: true, stream: true });
    const running = await fetch(`${url}/v1/completions`, { method: 'POST', body });
    child.kill('SIGTERM');
    expect(await running.text()).toContain('"finish_reason":"length"');
    expect(await ended).toMatchObject({ code: 0, stdout: '' });
  });

  it('gives up draining at its deadline', async () => {
    const { child, ended, hello } = start(['--type', 'sim', '--drain-ms', '50', '--costs', '{"stepFixed":1000}']);
    const { url } = await hello;
    const body = JSON.stringify({ model: 'simulated', prompt: 'a', max_tokens: 1000, stream: true });
    const running = await fetch(`${url}/v1/completions`, { method: 'POST', body });
    const text = running.text().catch(() => 'destroyed');
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    expect(code).toBe(0);
    expect(stderr).toContain('the drain deadline passed');
    expect(await text).not.toContain('[DONE]');
  });

  it('ends when its parent is gone', async () => {
    const { child, ended, hello } = start(['--type', 'sim']);
    await hello;
    child.disconnect();
    expect(await ended).toMatchObject({ code: 0 });
  });

  it('names a port that is taken, and exits 1', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const address = taken.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { ended } = start(['--type', 'sim', '--port', String(port)]);
    const { code, stderr } = await ended;
    taken.close();
    expect(code).toBe(1);
    expect(stderr).toBe(
      `sluice engine: --port ${port}: something else listens on 127.0.0.1:${port}; choose another port, or 0 for any free one\n`,
    );
  });

  it('names an HBM that is too small, and exits 1', async () => {
    const { code, stderr } = await start(['--type', 'sim', '--hbm-bytes', '4096']).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^sluice engine: hbmBytes \(--hbm-bytes\): one context of 8192 tokens needs 2097152 bytes, got 4096\n$/);
  });

  it('refuses wrong flags with exit 2, and helps without IPC', async () => {
    expect(await start(['--type', 'sim', '--port', 'x']).ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--port must be'),
    });
    const child = spawn(process.execPath, [MAIN, 'engine', '--help']);
    children.push(child);
    let stdout = '';
    child.stdout.on('data', (chunk) => {
      stdout += String(chunk);
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringContaining('Usage: sluice engine') });
  });
});
