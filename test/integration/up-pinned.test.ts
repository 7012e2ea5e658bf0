/** PinnedContexts on one machine, with real llama.cpp: pressure, a killed instance, an edit, and letting go. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { KvView, RequestRecord } from '../../src/router/index.ts';
import { childrenOf, commandLine, type Sandbox, type SluiceProcess, sandbox, until } from './up-process.ts';

const HEAD = { apiVersion: 'serving.sluice.dev/v1alpha1' };
const BLOCK_TOKENS = 16;
/** About 400 tokens. */
const PROMPT = Array.from({ length: 40 }, (_, at) => `rule ${at * 37}.`).join(' ');
const OTHER = Array.from({ length: 40 }, (_, at) => `item ${at * 53}.`).join(' ');

describe('a PinnedContext on one machine', { timeout: 120_000 }, () => {
  let box: Sandbox;
  let sluice: SluiceProcess;
  let file = '';
  let crowd = 0;

  /** HBM of one context, host memory of one and a half. */
  function manifests(...contexts: readonly { readonly name: string; readonly spec: object }[]): string {
    const spec = {
      model: { name: 'tiny', source: 'builtin:tiny' },
      engine: { type: 'llamacpp', contextTokens: 1_024, maxSequences: 2 },
      decode: {},
      kv: { hbm: { capacity: '1Mi' }, host: { capacity: '1536Ki' } },
    };
    const deployment = { ...HEAD, kind: 'ServingDeployment', metadata: { name: 'chat' }, spec };
    const pinned = contexts.map(({ name, spec: what }) => ({
      ...HEAD,
      kind: 'PinnedContext',
      metadata: { name },
      spec: { deploymentRef: { name: 'chat' }, ...what },
    }));
    return [deployment, ...pinned].map((one) => stringify(one)).join('---\n');
  }
  const prompt = { name: 'prompt', spec: { messages: [{ role: 'system', content: PROMPT }] } };

  beforeAll(async () => {
    box = sandbox();
    file = join(box.folder, 'pinned.yaml');
    writeFileSync(file, manifests(prompt));
    sluice = box.run(['up', '-f', file]);
    await sluice.line(/chat is ready at/);
  }, 120_000);
  afterAll(async () => {
    sluice?.kill('SIGTERM');
    await sluice?.exit;
    await box?.close();
  });

  function address(): string {
    const [state] = box.runStates().map((path) => JSON.parse(readFileSync(join(box.folder, 'sluice', path), 'utf8')));
    return state.url;
  }

  async function post(path: string, body: object): Promise<string> {
    const text = JSON.stringify({ model: 'tiny', max_tokens: 1, temperature: 0, ...body });
    const answer = await fetch(`${address()}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text });
    expect(answer.status, await answer.clone().text()).toBe(200);
    return answer.headers.get('x-request-id') ?? '';
  }

  async function json<T>(...words: readonly string[]): Promise<T> {
    const run = box.run([...words, '--name', 'chat', '--json']);
    expect((await run.exit).code, run.stderr()).toBe(0);
    return JSON.parse(run.stdout()) as T;
  }

  /** Tokens of the beginning that were not computed again. */
  async function reused(system: string): Promise<number> {
    const messages = [
      { role: 'system', content: system },
      { role: 'user', content: `question ${crowd}` },
    ];
    const { attempts } = await json<RequestRecord>('explain', await post('/v1/chat/completions', { messages }));
    const { hbm = 0, host = 0 } = attempts[0]?.decode?.report?.reused ?? {};
    return hbm + host;
  }

  /** Prompts of others, until nothing that may give way is left of what was there. */
  async function crowdOut(): Promise<void> {
    for (let other = 0; other < 6; other += 1) {
      crowd += 1;
      await post('/v1/completions', { prompt: Array.from({ length: 900 }, (_, at) => 1 + ((crowd * 7_919 + at * (31 + crowd)) % 300)) });
    }
  }

  const pinnedBytes = async () => (await json<KvView>('kv', 'stat')).instances[0]?.tiers.host.pinnedBytes ?? 0;
  const said = () => sluice.stdout().length;

  it('stays through pressure that takes everything else, and is what chats begin with', async () => {
    await sluice.line(/prompt is pinned: 1 instance holds it: mixed-0/);
    expect(await reused(OTHER)).toBe(0);
    expect(await reused(OTHER), 'it is found while nobody wants the room').toBeGreaterThan(10 * BLOCK_TOKENS);
    await crowdOut();
    expect(await reused(OTHER), 'what is not pinned gives way').toBe(0);
    const tokens = await reused(PROMPT);
    expect(tokens).toBeGreaterThan(10 * BLOCK_TOKENS);
    // Blocks of 16 tokens of 1 KiB.
    expect(await pinnedBytes()).toBe(tokens * 1_024);
  });

  it('is pinned again on an instance that was killed', async () => {
    const from = said();
    const engine = childrenOf(sluice.pid).find((pid) => / engine /.test(commandLine(pid)));
    process.kill(engine ?? 0, 'SIGKILL');
    await sluice.line(/prompt is not pinned yet/, from);
    await sluice.line(/prompt is pinned: 1 instance holds it/, from);
    await crowdOut();
    expect(await reused(PROMPT)).toBeGreaterThan(10 * BLOCK_TOKENS);
  });

  it('says what is in the way of one that does not fit, and leaves the others', async () => {
    const from = said();
    writeFileSync(file, manifests(prompt, { name: 'large', spec: { text: OTHER.repeat(2) } }));
    const [line] = await sluice.line(/large is not pinned yet: .*its KV needs.*/, from);
    expect(line).toMatch(
      /mixed-0: its KV needs \d+ bytes more of host memory; of 1572864 bytes 786432 may be pinned, and \d+ are; raise the capacity of the tier \(kv\.host\.capacity/,
    );
    expect(await pinnedBytes()).toBeGreaterThan(0);
  });

  it('is let go when it is taken out of the file, and then gives way', async () => {
    writeFileSync(file, manifests());
    await until(async () => (await pinnedBytes()) === 0);
    await crowdOut();
    expect(await reused(PROMPT)).toBe(0);
  });
});
