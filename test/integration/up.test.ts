import { readdirSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { childrenOf, commandLine, isAlive, type Sandbox, type SluiceProcess, sandbox, until } from './up-process.ts';

interface Wanted {
  readonly name?: string;
  readonly prefill?: number;
  readonly decode?: number;
  readonly stepMs?: number;
  readonly sequences?: number;
  readonly port?: number;
  readonly paused?: boolean;
}

function manifest({ name = 'test', prefill = 1, decode = 1, stepMs = 5, sequences = 16, port = 0, paused = false }: Wanted): string {
  return `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: ${name}}
spec:
  model: {name: simulated}
  engine: {type: sim, maxSequences: ${sequences}, sim: {costs: {stepFixed: ${stepMs}}}}
  prefill: {replicas: ${prefill}}
  decode: {replicas: ${decode}}
  router: {port: ${port}}
  rollout: {paused: ${paused}}
`;
}

let box: Sandbox;
let file: string;

beforeEach(() => {
  box = sandbox();
  file = join(box.folder, 'deployment.yaml');
});
afterEach(() => box.close());

/** As editors do: the new contents take the place of the file at once. */
function save(text: string): void {
  writeFileSync(`${file}.tmp`, text);
  renameSync(`${file}.tmp`, file);
}

async function up(wanted: Wanted): Promise<{ sluice: SluiceProcess; url: string }> {
  save(manifest(wanted));
  const sluice = box.run(['up', '-f', file]);
  const [, url] = await sluice.line(/is ready at (http:\/\/\S+)\/v1/);
  return { sluice, url: url ?? '' };
}

async function expectCleanEnd(sluice: SluiceProcess, children: readonly number[]): Promise<void> {
  sluice.kill('SIGTERM');
  expect(await sluice.exit).toEqual({ code: 0, signal: null });
  expect(children.filter(isAlive)).toEqual([]);
  expect(box.runStates()).toEqual([]);
  expect(readdirSync(box.folder).filter((name) => name.startsWith('sluice-'))).toEqual([]);
}

function complete(url: string, tokens: number, stream: boolean, signal?: AbortSignal): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'simulated', prompt: 'hello '.repeat(40), max_tokens: tokens, ignore_eos: true, seed: 1, stream }),
    ...(signal ? { signal } : {}),
  });
}

/** Events with text of a stream that ended properly. */
async function streamedTokens(response: Response): Promise<number> {
  const text = await response.text();
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
  expect(text).not.toContain('"error"');
  return text.split('\n\n').filter((event) => event.includes('"text":"') && !event.includes('"text":""')).length;
}

describe('sluice up', () => {
  it('comes up, answers, tells others where it is, and leaves nothing behind', async () => {
    const { sluice, url } = await up({ decode: 2 });
    const children = childrenOf(sluice.pid);
    expect(children).toHaveLength(4);
    const response = await complete(url, 5, false);
    expect(response.status).toBe(200);
    const [state] = box.runStates();
    expect(state).toBe(`test-${sluice.pid}.json`);
    await expectCleanEnd(sluice, children);
  });

  it('scales and rolls on edits without losing a stream', async () => {
    const { sluice, url } = await up({ decode: 1, stepMs: 10 });
    const streams = [complete(url, 300, true), complete(url, 300, true)];
    await Promise.all(streams);
    save(manifest({ decode: 2, stepMs: 10 }));
    await sluice.line(/decode-1 starts/);
    await sluice.line(/is as wanted again/);
    const afterScaling = sluice.stdout().length;
    save(manifest({ decode: 2, stepMs: 10, sequences: 8 }));
    await sluice.line(/decode-2 starts \(takes the place of an outdated one/, afterScaling);
    streams.push(complete(url, 100, true));
    for (const stream of streams) expect(await streamedTokens(await stream)).toBeGreaterThan(0);
    await sluice.line(/is as wanted again/, afterScaling);
    const engines = childrenOf(sluice.pid)
      .map(commandLine)
      .filter((line) => line.includes(' engine '));
    expect(engines).toHaveLength(3);
    expect(engines.every((line) => line.includes('--sequences 8'))).toBe(true);
    expect(sluice.stdout()).toMatch(/decode-\d drains/);
    await expectCleanEnd(sluice, childrenOf(sluice.pid));
  });

  it('holds edits back while spec.rollout.paused is true, but for sizes, and takes them up after it', async () => {
    const { sluice } = await up({ decode: 1 });
    const engines = () =>
      childrenOf(sluice.pid)
        .map((pid) => ({ pid, line: commandLine(pid) }))
        .filter(({ line }) => line.includes(' engine '));
    const before = engines().map(({ pid }) => pid);
    save(manifest({ decode: 2, sequences: 8, paused: true }));
    await sluice.line(/decode-1 starts/);
    await sluice.line(/is as wanted again/);
    expect(engines().map(({ pid }) => pid)).toEqual(expect.arrayContaining(before));
    expect(engines()).toHaveLength(3);
    expect(engines().every(({ line }) => line.includes('--sequences 16'))).toBe(true);
    const paused = sluice.stdout().length;
    save(manifest({ decode: 2, sequences: 8 }));
    await sluice.line(/is as wanted again/, paused);
    expect(engines()).toHaveLength(3);
    expect(engines().every(({ line }) => line.includes('--sequences 8'))).toBe(true);
    await expectCleanEnd(sluice, childrenOf(sluice.pid));
  });

  it('changes over to another model at once, and gives the router new limits, without losing a stream', async () => {
    const { sluice, url } = await up({ stepMs: 10 });
    const streams = [await complete(url, 150, true)];
    save(manifest({ stepMs: 10 }).replace('model: {name: simulated}', 'model: {name: other}'));
    await sluice.line(/the file changed/);
    // Until the other one is ready this one is served; then only the other.
    await until(async () => (await complete(url, 2, false)).status === 404);
    const served: unknown = await (await fetch(`${url}/v1/models`)).json();
    expect(served).toMatchObject({ data: [{ id: expect.stringContaining('other') }] });
    await sluice.line(/is as wanted again/);
    const afterModel = sluice.stdout().length;
    save(manifest({ stepMs: 10 }).replace('router: {port: 0}', 'router: {port: 0, limits: {queue: 7}}'));
    await sluice.line(/router-0 ends \(its spec changed\)/, afterModel);
    await sluice.line(/is as wanted again/, afterModel);
    expect((await complete(url, 2, false)).status).toBe(200);
    for (const stream of streams) expect(await streamedTokens(stream)).toBeGreaterThan(0);
  });

  it('lets explain and top find the run', async () => {
    const { url } = await up({});
    const answer = await complete(url, 3, false);
    const id = answer.headers.get('x-request-id') ?? '';
    const explained = box.run(['explain', id]);
    expect(await explained.exit, explained.stderr()).toMatchObject({ code: 0 });
    expect(explained.stdout()).toContain(`request  ${id}`);
    expect(explained.stdout()).toMatch(/prefill-0 → decode-0|decode-0 alone/);
    const json = box.run(['explain', id, '--json', '--router', url]);
    expect(await json.exit, json.stderr()).toMatchObject({ code: 0 });
    expect(JSON.parse(json.stdout())).toMatchObject({ id, outcome: 'ok' });
    const unknown = box.run(['explain', 'nonsense']);
    expect((await unknown.exit).code).toBe(1);
    expect(unknown.stderr()).toContain(`has no record of "nonsense"`);
    expect(unknown.stderr()).toContain(id);
    const top = box.run(['top', '--name', 'test']);
    expect(await top.exit, top.stderr()).toMatchObject({ code: 0 });
    expect(top.stdout()).toMatch(/^test {2}simulated.* ready/m);
    for (const instance of ['prefill-0', 'decode-0']) expect(top.stdout()).toMatch(new RegExp(`^${instance} +\\w+ +ready`, 'm'));
  });

  it('says so when explain and top find no run', async () => {
    for (const args of [['explain', 'x'], ['top']]) {
      const sluice = box.run(args);
      expect((await sluice.exit).code).toBe(1);
      expect(sluice.stderr()).toContain('nothing runs here');
    }
  });

  it('reports a broken edit with its line and goes on with what ran', async () => {
    const { sluice, url } = await up({});
    save(manifest({}).replace('decode: {replicas: 1}', 'decode: {replicas: -1}'));
    await sluice.line(/deployment\.yaml:\d+:\d+: spec\.decode\.replicas/);
    await sluice.line(/what ran before goes on/);
    expect((await complete(url, 2, false)).status).toBe(200);
    save(manifest({ decode: 2 }));
    await sluice.line(/decode-1 starts/);
  });

  it('finishes accepted streams on SIGTERM', async () => {
    const { sluice, url } = await up({ stepMs: 10 });
    const stream = await complete(url, 80, true);
    const children = childrenOf(sluice.pid);
    sluice.kill('SIGTERM');
    expect(await streamedTokens(stream)).toBeGreaterThan(0);
    expect(await sluice.exit).toEqual({ code: 0, signal: null });
    expect(children.filter(isAlive)).toEqual([]);
  });

  it('ends at once on a second signal', async () => {
    const { sluice, url } = await up({ stepMs: 1000 });
    const goAway = new AbortController();
    const stream = await complete(url, 4000, true, goAway.signal);
    sluice.kill('SIGINT');
    await sluice.line(/accepted requests finish first/);
    const children = childrenOf(sluice.pid);
    sluice.kill('SIGINT');
    expect((await sluice.exit).signal).toBeNull();
    expect(children.filter(isAlive)).toEqual([]);
    goAway.abort();
    await stream.text().catch(() => '');
  });

  it('leaves no orphans when it is killed', async () => {
    const { sluice } = await up({ decode: 2 });
    const children = childrenOf(sluice.pid);
    expect(children).toHaveLength(4);
    sluice.kill('SIGKILL');
    await until(() => children.every((pid) => !isAlive(pid)));
  });

  it('starts a killed engine again, and a killed router at the same address', async () => {
    const { sluice, url } = await up({});
    for (const what of ['decode-0', 'router-0']) {
      const before = sluice.stdout().length;
      const pid = childrenOf(sluice.pid).find((child) => commandLine(child).includes(what === 'router-0' ? ' router ' : what)) ?? 0;
      process.kill(pid, 'SIGKILL');
      await sluice.line(new RegExp(`${what} starts again \\(failure 1: killed by SIGKILL`), before);
      await sluice.line(/is as wanted again/, before);
      expect((await complete(url, 2, false)).status).toBe(200);
    }
  });

  it('names the field when the port of the router is in use, and ends', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve);
    });
    const address = other.address();
    const port = typeof address === 'object' && address ? address.port : 0;
    save(manifest({ port }));
    const sluice = box.run(['up', '-f', file]);
    expect((await sluice.exit).code).toBe(1);
    expect(sluice.stderr()).toContain(`test did not come up: spec.router.port: port ${port} of 127.0.0.1 is in use by another process`);
    expect(box.runStates()).toEqual([]);
    other.close();
  });

  it('two runs of the same file do not collide', async () => {
    const first = await up({});
    const second = await up({});
    expect(first.url).not.toBe(second.url);
    expect(box.runStates()).toHaveLength(2);
    for (const { url } of [first, second]) expect((await complete(url, 2, false)).status).toBe(200);
  });

  it.each([
    ['broken YAML', 'a: [1', /deployment\.yaml:\d+:\d+: not valid YAML/],
    ['an unknown field', manifest({}).replace('decode:', 'decodes:'), /spec\.decodes/],
    ['two deployments of one name', `${manifest({})}---\n${manifest({})}`, /two deployments are named "test"/],
    ['an empty file', '', /the file is empty/],
  ])('refuses %s', async (_what, text, message) => {
    save(text);
    const sluice = box.run(['up', '-f', file]);
    expect((await sluice.exit).code).toBe(1);
    expect(sluice.stderr()).toMatch(message);
    expect(sluice.stdout()).toBe('');
  });

  it('says what is wrong with the weights, and leaves nothing running', async () => {
    const llamacpp = manifest({}).replace('{type: sim, maxSequences: 16, sim: {costs: {stepFixed: 5}}}', '{type: llamacpp}');
    save(llamacpp.replace('{name: simulated}', '{name: m, source: /nowhere/weights.gguf}'));
    const missing = box.run(['up', '-f', file]);
    expect((await missing.exit).code).toBe(1);
    expect(missing.stderr()).toContain('spec.model.source: there is no file /nowhere/weights.gguf');

    const truncated = join(box.folder, 'truncated.gguf');
    writeFileSync(truncated, 'GGUF');
    save(llamacpp.replace('{name: simulated}', `{name: m, source: ${truncated}}`));
    const broken = box.run(['up', '-f', file]);
    expect((await broken.exit).code).toBe(1);
    expect(broken.stderr()).toContain('spec.model.source: model file');
    expect(broken.stderr()).toContain('truncated.gguf');
  });

  it.each([
    [['up'], 2, /which file\? Give it with -f FILE/],
    [['up', '-f', '/nowhere.yaml'], 1, /\/nowhere\.yaml: there is no such file/],
    [['up', '--fil', 'x'], 2, /unknown flag --fil; did you mean --file\?/],
    [['upp'], 2, /Did you mean: sluice up/],
  ])('answers %j with exit code %i', async (args, code, message) => {
    const sluice = box.run(args);
    expect((await sluice.exit).code).toBe(code);
    expect(sluice.stderr()).toMatch(message);
  });
});
