/** `sluice up` with a KVTier and deployments that name it, on a real Redis and a real NATS: what they share and what not, and its edits. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { KvWhere, RequestRecord } from '../../src/router/index.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { type Sandbox, type SluiceProcess, sandbox, until } from './up-process.ts';

const noServers = findServer('redis-server') === null || findServer('nats-server') === null;
const HEAD = { apiVersion: 'serving.sluice.dev/v1alpha1' };
/** The last one computes other KV: another model. */
const USERS = { first: 'simulated', second: 'simulated', stranger: 'other' } as const;
type User = keyof typeof USERS;

interface State {
  readonly url: string;
  readonly adminUrl: string;
  readonly name: string;
}

interface Said {
  readonly instances: readonly { readonly id: string; readonly incarnation: string }[];
  readonly kv: Readonly<Record<string, string | null>>;
}

describe.skipIf(noServers)('a KVTier on one machine', () => {
  let box: Sandbox;
  let redis: RedisServer;
  let nats: NatsServer;
  let sluice: SluiceProcess;
  let file = '';

  function manifests(budget: string, tierOf: (name: User) => string = () => 'shared'): string {
    const store = { redis: { url: redis.url }, scope: 'Model', capacity: '64Mi' };
    const tier = {
      ...HEAD,
      kind: 'KVTier',
      metadata: { name: 'shared' },
      spec: { redis: { urls: [redis.url], budget }, nats: { urls: [nats.url] }, store },
    };
    // HBM for two prompts, host memory for two more, and the rest in the store. Computing is as slow as with a large model.
    const engine = { type: 'sim', contextTokens: 2_048, maxSequences: 4, sim: { costs: { prefillPerToken: 1 } } };
    const users = Object.entries(USERS).map(([name, model]) => ({
      ...HEAD,
      kind: 'ServingDeployment',
      metadata: { name },
      spec: {
        model: { name: model },
        engine,
        decode: {},
        kv: { hbm: { capacity: '1Mi' }, host: { capacity: '1Mi' }, tierRef: { name: tierOf(name as User) } },
      },
    }));
    return [tier, ...users].map((one) => stringify(one)).join('---\n');
  }

  beforeAll(async () => {
    box = sandbox();
    [redis, nats] = [await startRedis(), await startNats()];
    file = join(box.folder, 'tier.yaml');
    writeFileSync(file, manifests('20ms'));
    sluice = box.run(['up', '-f', file]);
    await Promise.all(Object.keys(USERS).map((name) => sluice.line(new RegExp(`${name} is ready at`))));
  });
  afterAll(async () => {
    sluice?.kill('SIGTERM');
    await sluice?.exit;
    await box?.close();
    await redis?.stop();
    await nats?.stop();
  });

  function state(name: User): State {
    const states = box.runStates().map((path): State => JSON.parse(readFileSync(join(box.folder, 'sluice', path), 'utf8')));
    const found = states.find((one) => one.name === name);
    if (!found) throw new Error(`${name} does not run`);
    return found;
  }

  /** About 1,000 tokens that only this `text` has. @returns the id of the request */
  async function ask(name: User, text: string): Promise<string> {
    const body = JSON.stringify({ model: USERS[name], prompt: `${text} `.padEnd(4_000, `${text}-`), max_tokens: 4, temperature: 0 });
    const answer = await fetch(`${state(name).url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
    expect(answer.status, await answer.clone().text()).toBe(200);
    return answer.headers.get('x-request-id') ?? '';
  }

  async function json<T>(name: User, ...words: readonly string[]): Promise<T> {
    const run = box.run([...words, '--name', name, '--json']);
    expect((await run.exit).code, run.stderr()).toBe(0);
    return JSON.parse(run.stdout()) as T;
  }

  const fromStore = async (name: User, text: string): Promise<number> => {
    const { attempts } = await json<RequestRecord>(name, 'explain', await ask(name, text));
    return attempts[0]?.decode?.report?.reused?.store ?? 0;
  };
  const said = async (name: User): Promise<Said> => (await (await fetch(`${state(name).adminUrl}/admin/instances`)).json()) as Said;

  it('gives all that name it its Redis and its NATS', async () => {
    for (const name of Object.keys(USERS) as User[]) {
      await until(async () => {
        const { kv } = await said(name);
        return kv['redis'] === null && kv['nats'] === null;
      });
    }
  });

  it('has a store in which deployments of one model find what the other has computed, and others do not', async () => {
    const first = await ask('first', 'shared');
    for (let other = 0; other < 14; other++) await ask('first', `other-${other}`);
    await until(async () => {
      const { blocks, places } = await json<KvWhere>('first', 'kv', 'where', first);
      return (places[0]?.store ?? 0) > blocks / 2;
    });
    expect(await fromStore('stranger', 'shared')).toBe(0);
    expect(await fromStore('second', 'shared')).toBeGreaterThan(500);
  });

  it('is edited for all of them, one instance after the other, and an edit with a mistake is none', async () => {
    const incarnations = async () =>
      (await Promise.all((Object.keys(USERS) as User[]).map(said))).map(({ instances }) => instances[0]?.incarnation);
    const before = await incarnations();
    writeFileSync(
      file,
      manifests('20ms', (name) => (name === 'second' ? 'sharde' : 'shared')),
    );
    const refused = await sluice.line(
      /spec\.kv\.tierRef\.name is "sharde": expected the name of a KVTier of namespace default in these files: shared;/,
    );
    expect(refused).not.toBeNull();
    await sluice.line(/the edit was not applied; what ran before goes on/);
    expect(await incarnations()).toEqual(before);

    writeFileSync(file, manifests('30ms'));
    // Routers have their addresses for themselves: while one takes the place of the other nobody answers.
    await until(async () => {
      const now = await incarnations().catch(() => []);
      return now.length === before.length && now.every((one, index) => one !== undefined && one !== before[index]);
    });
    for (const name of Object.keys(USERS) as User[]) await until(() => ask(name, 'after').then(Boolean, () => false));
  });
});
