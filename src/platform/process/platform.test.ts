import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock, systemClock } from '../../shared/index.ts';
import type { InstanceSpec, Observed, RouterSpec } from '../port.ts';
import { instanceSpec } from '../spec.fixture.ts';
import { ProcessPlatform, type ProcessPlatformOptions } from './platform.ts';

/** An engine or router that only listens, tells so, and keeps the list that it was given. `FAKE` in its environment breaks it. */
const FAKE_PROCESS = `
  const http = require('node:http');
  const fs = require('node:fs');
  const flag = (name) => process.argv[process.argv.indexOf('--' + name) + 1];
  const mode = process.env.FAKE ?? '';
  let list = [];
  let generation = 0;
  let looks = 0;
  let ready = !['never', 'slow', 'endless'].includes(mode);
  if (mode === 'dies') { console.error('first words'); console.error(JSON.stringify({ msg: 'out of luck' })); process.exit(3); }
  if (mode === 'stubborn') process.on('SIGTERM', () => {});
  if (mode === 'fails') { console.error('a line'); console.error('sluice engine: there is no such model'); process.exit(1); }
  if (mode === 'endless') setInterval(() => process.send({ type: 'starting' }), 20);
  if (mode === 'litters') fs.writeFileSync(process.env.TMPDIR + '/left', 'x');
  process.on('disconnect', () => process.exit(0));
  const server = http.createServer((request, response) => {
    if (request.method === 'PUT') {
      let text = '';
      request.on('data', (chunk) => (text += chunk)).on('end', () => {
        const told = JSON.parse(text);
        generation = told.generation;
        list = told.instances.map((one) => ({ ...one, connected: true, proven: one.id.startsWith('proven'), emptied: one.id === 'emptied', inFlight: 2 }));
        response.end('{}');
      });
      return;
    }
    if (request.url === '/health' && mode === 'slow') {
      looks += 1;
      if (looks > 10) ready = true;
      else process.send({ type: 'starting' });
    }
    if (request.url === '/health' && !ready) { response.statusCode = 503; }
    response.end(JSON.stringify({ generation, instances: list }));
  });
  server.listen(Number(flag('port')), '127.0.0.1', () => {
    const url = 'http://127.0.0.1:' + server.address().port;
    process.send({ type: 'listening', url, adminUrl: url, incarnation: String(process.pid), transfer: { host: '127.0.0.1', port: 1 } });
  });
`;

const INSTANCE = instanceSpec();
const ROUTER: RouterSpec = { host: '127.0.0.1', port: 0, image: null, modelName: 'm', config: '{}', graceMs: 1 };

let root: string;
let platform: ProcessPlatform;
let changed: () => void;
const lines: string[] = [];

function create(options: Partial<ProcessPlatformOptions> = {}): ProcessPlatform {
  return new ProcessPlatform({
    executable: process.execPath,
    entry: ['-e', FAKE_PROCESS],
    host: '127.0.0.1',
    environment: {},
    tempRoot: root,
    clock: systemClock,
    modelPath: () => Promise.reject(new Error('no such weights')),
    onChange: () => changed(),
    onLine: (_member, line) => lines.push(line),
    instanceStopMs: 2_000,
    routerStopMs: 2_000,
    ...options,
  });
}

/** Looks until the observation satisfies `done`; the test's own timeout is the bound. */
async function until(done: (observed: Observed) => boolean): Promise<Observed> {
  for (;;) {
    const woken = new Promise<void>((resolve) => {
      changed = resolve;
    });
    const observed = await platform.observe();
    if (done(observed)) return observed;
    await Promise.race([woken, new Promise((resolve) => systemClock.after(20, () => resolve(null)))]);
  }
}

function startInstance(name: string, spec: Partial<InstanceSpec> = {}) {
  return platform.apply({ type: 'startInstance', name, spec: { ...INSTANCE, ...spec }, revision: 'r', family: 'f', reason: 'test' });
}

async function replace(options: Partial<ProcessPlatformOptions>): Promise<void> {
  await platform.close({ routerMs: 500, instanceMs: 500 });
  platform = create(options);
}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'platform-test-'));
  changed = () => {};
  platform = create();
});

afterEach(async () => {
  await platform.close({ routerMs: 500, instanceMs: 500 });
  expect(platform.processes()).toEqual([]);
  expect(readdirSync(root)).toEqual([]);
  rmSync(root, { recursive: true });
});

describe('ProcessPlatform', () => {
  it('brings an instance up, tells its address and incarnation, and a restart makes another incarnation', async () => {
    expect(await startInstance('decode-0')).toEqual({ ok: true });
    const first = (await until(({ instances }) => instances[0]?.phase === 'ready')).instances[0];
    expect(first).toMatchObject({ name: 'decode-0', role: 'decode', revision: 'r', family: 'f', drainingSinceMs: null, failures: 0 });
    expect(first?.address?.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);

    process.kill(platform.processes()[0]?.pid ?? 0, 'SIGKILL');
    const failed = (await until(({ instances }) => instances[0]?.phase === 'failed')).instances[0];
    expect(failed).toMatchObject({ failures: 1, lastError: 'killed by SIGKILL' });
    await platform.apply({ type: 'restartInstance', name: 'decode-0', reason: 'test' });
    const second = (await until(({ instances }) => instances[0]?.phase === 'ready')).instances[0];
    expect(second?.incarnation).not.toBe(first?.incarnation);
    expect(second?.failures).toBe(1);
  });

  it('keeps the last words of a process that ends by itself, and counts failures', async () => {
    await startInstance('decode-0', { env: { FAKE: 'dies' } });
    await until(({ instances }) => instances[0]?.phase === 'failed');
    await platform.apply({ type: 'restartInstance', name: 'decode-0', reason: 'test' });
    const { instances } = await until((observed) => observed.instances[0]?.failures === 2);
    expect(instances[0]?.lastError).toBe('exit code 3: first words: out of luck');
    expect(lines).toContain('first words');
  });

  it('says which field is wrong when there are no weights', async () => {
    const outcome = await startInstance('decode-0', { engine: 'llamacpp' });
    expect(outcome).toEqual({ ok: false, field: 'spec.model.source', message: 'no such weights' });
    expect((await platform.observe()).instances[0]).toMatchObject({ phase: 'failed', lastError: 'no such weights' });
  });

  it('ends a process that is not ready in time, and says so', async () => {
    await replace({ probes: { startMs: 200, longestStartMs: 60_000, answerMs: 100, periodMs: 50, misses: 2 } });
    await startInstance('decode-0', { env: { FAKE: 'never' } });
    const { instances } = await until((observed) => observed.instances[0]?.phase === 'failed');
    expect(instances[0]?.lastError).toBe('not ready within 200 ms: killed by SIGKILL');
  });

  it('waits longer for a process that says that its start goes on, but not for ever', async () => {
    // Time passes only between looks, at each of which the process says that its start goes on: how quick it is does not matter.
    const clock = new FakeClock();
    await replace({ clock, probes: { startMs: 2_000, longestStartMs: 60_000, answerMs: 20_000, periodMs: 50, misses: 2 } });
    await startInstance('decode-0', { env: { FAKE: 'slow' } });
    await until(({ instances }) => (instances[0]?.address ?? null) !== null);
    const first = await until(({ instances }) => {
      clock.advance(1_500);
      return instances[0]?.phase !== 'starting';
    });
    expect(first.instances[0]).toMatchObject({ phase: 'ready', lastError: null });
    expect(clock.now()).toBeGreaterThan(10_000);
    await replace({ probes: { startMs: 10_000, longestStartMs: 2_500, answerMs: 100, periodMs: 50, misses: 2 } });
    await startInstance('decode-0', { env: { FAKE: 'endless' } });
    const { instances } = await until((observed) => observed.instances[0]?.phase === 'failed');
    expect(instances[0]?.lastError).toBe('not ready within 2500 ms: killed by SIGKILL');
  });

  it('tells the sentence with which a command of ours fails, without what was said before it', async () => {
    await startInstance('decode-0', { env: { FAKE: 'fails' } });
    const { instances } = await until((observed) => observed.instances[0]?.phase === 'failed');
    expect(instances[0]?.lastError).toBe('exit code 1: there is no such model');
  });

  it('ends a ready process that does not answer any more', async () => {
    await replace({ probes: { startMs: 5_000, longestStartMs: 60_000, answerMs: 50, periodMs: 10, misses: 2 } });
    await startInstance('decode-0');
    await until(({ instances }) => instances[0]?.phase === 'ready');
    process.kill(platform.processes()[0]?.pid ?? 0, 'SIGSTOP');
    const { instances } = await until((observed) => observed.instances[0]?.phase === 'failed');
    expect(instances[0]?.lastError).toBe('/health failed 2 times in a row: killed by SIGKILL');
  });

  it('stops with SIGTERM, and with SIGKILL what does not listen to it', async () => {
    await replace({ instanceStopMs: 300 });
    await startInstance('decode-0');
    await startInstance('decode-1', { env: { FAKE: 'stubborn' } });
    await until(({ instances }) => instances.every((instance) => instance.phase === 'ready'));
    const pids = platform.processes().map((process) => process.pid);
    await platform.apply({ type: 'stopInstance', name: 'decode-0', reason: 'test' });
    await platform.apply({ type: 'stopInstance', name: 'decode-1', reason: 'test' });
    expect((await platform.observe()).instances.map((instance) => instance.phase)).toContain('stopping');
    await until(({ instances }) => instances.length === 0);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('gives the router the list and reads back what it has; one that nothing went through does not serve yet, unless it leaves', async () => {
    await platform.apply({ type: 'startRouter', name: 'router-0', spec: ROUTER, revision: 'r', reason: 'test' });
    await until(({ routers }) => routers[0]?.phase === 'ready');
    const line = { incarnation: 'i', role: 'decode', url: 'http://x', transfer: { host: 'x', port: 1 } } as const;
    const instances = [
      { ...line, id: 'proven', draining: false },
      { ...line, id: 'emptied', draining: false },
      { ...line, id: 'fresh', draining: false },
      { ...line, id: 'leaving', draining: true },
    ];
    const outcome = await platform.apply({ type: 'publishInstances', router: 'router-0', model: 'm', instances, reason: 'test' });
    expect(outcome).toEqual({ ok: true });
    const [router] = (await platform.observe()).routers;
    expect(router?.instances).toEqual([
      { name: 'proven', incarnation: 'i', draining: false, connected: true, inFlight: 2 },
      { name: 'emptied', incarnation: 'i', draining: false, connected: true, inFlight: 2 },
      { name: 'fresh', incarnation: 'i', draining: false, connected: false, inFlight: 2 },
      { name: 'leaving', incarnation: 'i', draining: true, connected: true, inFlight: 2 },
    ]);
    expect(router).toMatchObject({ accepting: true, serving: true });
  });

  it('keeps the port of a router that was to take any, over crash and replacement', async () => {
    await platform.apply({ type: 'startRouter', name: 'router-0', spec: ROUTER, revision: 'r', reason: 'test' });
    const url = (await until(({ routers }) => routers[0]?.phase === 'ready')).routers[0]?.url;
    process.kill(platform.processes()[0]?.pid ?? 0, 'SIGKILL');
    await until(({ routers }) => routers[0]?.phase === 'failed');
    await platform.apply({ type: 'restartRouter', name: 'router-0', reason: 'test' });
    expect((await until(({ routers }) => routers[0]?.phase === 'ready')).routers[0]?.url).toBe(url);
    await platform.apply({ type: 'stopRouter', name: 'router-0', reason: 'test' });
    await until(({ routers }) => routers.length === 0);
    await platform.apply({ type: 'startRouter', name: 'router-1', spec: ROUTER, revision: 's', reason: 'test' });
    expect((await until(({ routers }) => routers[0]?.phase === 'ready')).routers[0]?.url).toBe(url);
  });

  it('names the field when the port of the router is in use', async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) => {
      other.listen(0, '127.0.0.1', () => {
        const address = other.address();
        resolve(typeof address === 'object' && address ? address.port : 0);
      });
    });
    const outcome = await platform.apply({
      type: 'startRouter',
      name: 'router-0',
      spec: { ...ROUTER, port },
      revision: 'r',
      reason: 'test',
    });
    expect(outcome).toMatchObject({ ok: false, field: 'spec.router.port' });
    expect(outcome.ok || outcome.message).toContain(`port ${port} of 127.0.0.1 is in use by another process`);
    other.close();
  });

  it('gives children a temp folder of their own, counts what they left there and removes it', async () => {
    await startInstance('decode-0', { env: { FAKE: 'litters' } });
    await until(({ instances }) => instances[0]?.phase === 'ready');
    expect(await platform.close({ routerMs: 500, instanceMs: 500 })).toEqual({ files: 1 });
    expect(readdirSync(root)).toEqual([]);
    expect(existsSync(root)).toBe(true);
  });

  it('refuses steps on what is not there', async () => {
    expect(await platform.apply({ type: 'drainInstance', name: 'decode-7', reason: 'test' })).toMatchObject({ ok: false });
  });
});
