/** `sluice router` as a process: start, signals, the parent's death, mistakes. */
import { type ChildProcess, fork } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { type EngineHandle, MODEL, startEngine, stream, until } from './router-fixture.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const children: ChildProcess[] = [];
const engines: EngineHandle[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await Promise.all(engines.splice(0).map((engine) => engine.close()));
});

interface Hello {
  readonly type: string;
  readonly url: string;
  readonly adminUrl: string;
}

function start(flags: readonly string[]) {
  const child = fork(MAIN, ['router', ...flags], { silent: true });
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
  return { child, ended, hello };
}

async function publish({ adminUrl }: Hello, engine: EngineHandle): Promise<void> {
  const { incarnation, transfer } = engine.core.info;
  const instance = { id: engine.id, role: engine.role, url: engine.url, incarnation, transfer, draining: false };
  const body = JSON.stringify({ generation: 1, model: MODEL, instances: [instance] });
  const answer = await fetch(`${adminUrl}/admin/instances`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body });
  expect(await answer.json()).toMatchObject({ generation: 1, instances: [{ id: engine.id, inFlight: 0 }] });
}

describe('sluice router', () => {
  it('says where it listens, serves, finishes on SIGTERM what is under way, and exits 0', async () => {
    const engine = await startEngine('mixed-0', 'mixed');
    engines.push(engine);
    const { child, ended, hello } = start(['--model', MODEL]);
    const told = await hello;
    expect(told).toEqual({ type: 'listening', url: expect.any(String), adminUrl: expect.any(String) });
    await publish(told, engine);
    await until(async () => (await fetch(`${told.url}/readyz`)).status === 200);
    let signalled = false;
    const running = await stream(told.url, '/v1/completions', { prompt: 'a', max_tokens: 60, ignore_eos: true }, (events) => {
      if (events < 3 || signalled) return;
      signalled = true;
      child.kill('SIGTERM');
    });
    expect(running).toMatchObject({ done: true, broken: false });
    expect(await ended).toMatchObject({ code: 0, stdout: '' });
  });

  it('listens on every address when it is told ::, loopback among them, and its admin only where it is told', async () => {
    const { hello } = start(['--model', MODEL, '--host', '::', '--admin-host', '127.3.2.1']);
    const { url, adminUrl } = await hello;
    const [port, adminPort] = [new URL(url).port, new URL(adminUrl).port];
    for (const address of ['127.0.0.1', '127.3.2.1']) expect((await fetch(`http://${address}:${port}/healthz`)).status).toBe(200);
    expect((await fetch(`http://127.3.2.1:${adminPort}/admin/instances`)).status).toBe(200);
    await expect(fetch(`http://127.0.0.1:${adminPort}/admin/instances`)).rejects.toThrow();
  });

  it('gives up on what takes longer than its grace', async () => {
    const engine = await startEngine('mixed-0', 'mixed');
    engines.push(engine);
    const { child, ended, hello } = start(['--model', MODEL, '--grace-ms', '50']);
    const told = await hello;
    await publish(told, engine);
    await until(async () => (await fetch(`${told.url}/readyz`)).status === 200);
    const running = await stream(told.url, '/v1/completions', { prompt: 'a', max_tokens: 5000, ignore_eos: true }, (events) => {
      if (events === 3) child.kill('SIGTERM');
    });
    expect(running).toMatchObject({ done: false, broken: true });
    expect((await ended).code).toBe(0);
    await until(() => engine.core.load().running === 0);
  });

  it('ends when its parent is gone', async () => {
    const { child, ended, hello } = start(['--model', MODEL]);
    await hello;
    child.disconnect();
    expect((await ended).code).toBe(0);
  });

  it.each([
    [[], '--model must be the name that requests ask for; it is missing'],
    [['--model', 'm', '--port', '70000'], '--port must be a whole number from 0 to 65535; got "70000"'],
    [['--model', 'm', '--port', 'x'], '--port must be a whole number from 0 to 65535; got "x"'],
    [['--model', 'm', '--prot', '1'], 'unknown flag --prot; did you mean --port?'],
    [['--model', 'm', '--config', '{'], '--config: must be JSON; got "{"'],
    [
      ['--model', 'm', '--config', '{"tracing":{"endpoint":"otel:4318"}}'],
      '--config: tracing.endpoint must be the OTLP/HTTP address of a collector',
    ],
    [['--model', 'm', '--config', '{"limits":{"queue":-1}}'], '--config: limits.queue must be a whole number from 0 to 1000000; got -1'],
  ])('%j is a mistake', async (flags, message) => {
    const { code, stderr, stdout } = await start(flags).ended;
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(`sluice router: ${message}`);
  });

  it('says which port is in use', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const redis = { kind: 'single', urls: ['redis://127.0.0.1:1'], prefix: 'sluice:', budgetMs: 5 };
    const nats = { urls: ['nats://127.0.0.1:1'], prefix: 'sluice', maxBytes: 2 ** 26, maxAgeMs: 600_000, replicas: 1 };
    const kv = ['--kv', JSON.stringify({ space: 'a', redis, nats })];
    for (const [flag, ...more] of [['--port'], ['--admin-port'], ['--admin-port', ...kv]] as const) {
      const { code, stderr } = await start(['--model', MODEL, flag, String(port), ...more]).ended;
      expect(code).toBe(1);
      expect(stderr).toContain(`${flag} ${port}: something else listens there; choose another port, or 0 for any free one`);
    }
    await new Promise((resolve) => server.close(resolve));
  });

  it('teaches', async () => {
    const { code, stdout } = await start(['--help']).ended;
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: sluice router --model NAME');
  });
});
