/**
 * `sluice up` with a real Redis and a real NATS, which are killed, emptied, stopped and filled while streams run: every stream ends with the
 * tokens that it has when nothing happens, and afterwards everybody knows again what there is.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisDirectory } from '../../src/kv/directory/redis/index.ts';
import type { SharedDirectory } from '../../src/kv/index.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { until as untilWithin } from '../servers/server.ts';
import { type Sandbox, sandbox } from './up-process.ts';

const noServers = findServer('redis-server') === null || findServer('nats-server') === null;
const BACK_MS = 60_000;
const PROMPTS = Array.from({ length: 6 }, (_, index) => `Gate ${index}. ${'The water stands at the gate and waits. '.repeat(8 + index)}`);
const TOKENS = 100;
const PASSWORD = 'pass-of-kv';

interface Listed {
  readonly id: string;
  readonly incarnation: string;
  readonly role: string;
  readonly url: string;
  readonly blocksFrom: string;
}

interface Said {
  readonly instances: readonly Listed[];
  readonly kv: { readonly redis?: string | null; readonly nats?: string | null };
}

describe.skipIf(noServers)('a deployment that shares Redis and NATS', () => {
  let box: Sandbox;
  let redis: RedisServer;
  let nats: NatsServer;
  let directory: SharedDirectory;
  let url = '';
  let adminUrl = '';
  const expected = new Map<string, string>();

  beforeAll(async () => {
    box = sandbox();
    redis = await startRedis({ conf: [`user default on >${PASSWORD} ~* &* +@all`], admin: { password: PASSWORD } });
    nats = await startNats({ conf: [`authorization { users: [ { user: kv, password: ${PASSWORD} } ] }`] });
    directory = redisDirectory({ servers: { urls: [redis.url], password: PASSWORD }, space: 'default.shared', budgetMs: 2_000 });
    const words = join(box.folder, 'nats');
    mkdirSync(words);
    writeFileSync(join(words, 'username'), 'kv');
    writeFileSync(join(words, 'password'), `${PASSWORD}\n`);
    const file = join(box.folder, 'deployment.yaml');
    writeFileSync(
      file,
      `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: shared}
spec:
  model: {name: tiny, source: "builtin:tiny"}
  engine: {type: llamacpp, contextTokens: 2048, maxSequences: 8}
  prefill: {replicas: 1}
  decode: {replicas: 2}
  kv:
    hbm: {capacity: 16Mi}
    host: {capacity: 16Mi}
    redis: {urls: ["${redis.url}"], credentials: {env: KV}}
    nats: {urls: ["${nats.url}"], credentials: {folder: ${words}}}
`,
    );
    const sluice = box.run(['up', '-f', file, '--verbose'], { KV_PASSWORD: PASSWORD });
    const [, found] = await sluice.line(/is ready at (http:\/\/\S+)\/v1/);
    url = found ?? '';
    const [state] = box.runStates();
    adminUrl = JSON.parse(readFileSync(join(box.folder, 'sluice', state ?? ''), 'utf8')).adminUrl;
    for (const prompt of PROMPTS) expected.set(prompt, await ask(prompt));
  });
  afterAll(async () => {
    await directory?.close();
    await box?.close();
    await redis?.stop();
    await nats?.stop();
  });

  async function ask(prompt: string): Promise<string> {
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', prompt, max_tokens: TOKENS, ignore_eos: true, temperature: 0, stream: true }),
    });
    const text = await response.text();
    if (response.status !== 200 || text.includes('"error"') || !text.endsWith('data: [DONE]\n\n'))
      throw new Error(`lost: ${response.status} ${text}`);
    return text
      .split('\n\n')
      .filter((event) => event.startsWith('data: {'))
      .map((event) => String(JSON.parse(event.slice('data: '.length)).choices?.[0]?.text ?? ''))
      .join('');
  }

  const said = async (): Promise<Said> => (await fetch(`${adminUrl}/admin/instances`)).json() as Promise<Said>;

  /** Streams, four at a time, for as long as `disturb` goes on. @returns how many there were; throws when one is lost or has a wrong token */
  async function streamsDuring(disturb: () => Promise<void>): Promise<number> {
    let over = false;
    let count = 0;
    const one = async (first: number) => {
      for (let turn = first; !over; turn += 1) {
        const prompt = PROMPTS[turn % PROMPTS.length] ?? '';
        expect(await ask(prompt)).toBe(expected.get(prompt));
        count += 1;
      }
    };
    const all = Promise.all([0, 1, 2, 3].map(one));
    try {
      await Promise.race([disturb(), all]);
    } finally {
      over = true;
      await all;
    }
    return count;
  }

  /** All is told and published again: by the log, and in Redis with what each instance holds. */
  async function expectWell(): Promise<void> {
    await untilWithin(
      'the router uses both again, and all is told by the log',
      async () => {
        const { kv, instances } = await said();
        return kv.redis === null && kv.nats === null && instances.length === 3 && instances.every(({ blocksFrom }) => blocksFrom === 'log');
      },
      BACK_MS,
    );
    await untilWithin(
      'each instance has published what it holds',
      async () => {
        const [lives, { instances }] = [await directory.stats().catch(() => []), await said()];
        return (
          lives.length === 3 &&
          lives.every((life) => instances.some((one) => one.id === life.instance && one.incarnation === life.incarnation) && life.bytes > 0)
        );
      },
      BACK_MS,
    );
    for (const [prompt, text] of expected) expect(await ask(prompt)).toBe(text);
  }

  const isAway = (server: 'redis' | 'nats') =>
    untilWithin(`${server} is known to be away`, async () => typeof (await said()).kv[server] === 'string', BACK_MS);

  it('knows by the log what instances hold, and keeps the directory', async () => {
    await expectWell();
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/sluice_router_kv_server_up\{.*server="redis".*\} 1/);
    expect(metrics).toMatch(/sluice_router_block_sources\{.*source="log".*\} 3/);
    expect(metrics).toMatch(/sluice_router_event_log_events_total\{[^}]*\} [1-9]/);
  });

  it('lets two routers agree: what one has just had computed, the other finds at once', async () => {
    const kv = {
      space: 'default.shared',
      redis: { kind: 'single', urls: [redis.url], credentials: { env: 'KV' }, prefix: 'sluice:', budgetMs: 5 },
      nats: {
        urls: [nats.url],
        credentials: { folder: join(box.folder, 'nats') },
        prefix: 'sluice',
        maxBytes: 2 ** 26,
        maxAgeMs: 600_000,
        replicas: 1,
      },
    };
    const second = box.run(['router', '--model', 'tiny', '--kv', JSON.stringify(kv)], { KV_PASSWORD: PASSWORD });
    const port = /"url":"(http:[^"]+)","adminUrl":"(http:[^"]+)"/;
    await untilWithin('the second router listens', async () => port.test(second.stderr()), BACK_MS);
    const [, secondUrl = '', secondAdmin = ''] = port.exec(second.stderr()) ?? [];
    const instances = await Promise.all(
      (await said()).instances.map(async ({ id, incarnation, role, url: at }) => {
        const info = (await (await fetch(`${at}/sluice/info`)).json()) as { transfer: object };
        return { id, incarnation, role, url: at, transfer: info.transfer, draining: false };
      }),
    );
    const put = await fetch(`${secondAdmin}/admin/instances`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ generation: 1, model: 'tiny', instances }),
    });
    expect([put.status, await put.text()]).toEqual([200, expect.stringContaining('prefill-0')]);
    const told = async () => ((await (await fetch(`${secondAdmin}/admin/instances`)).json()) as Said).instances;
    await untilWithin('the second router is told all', async () => (await told()).every(({ blocksFrom }) => blocksFrom === 'log'), BACK_MS);
    for (let turn = 0; turn < 5; turn += 1) {
      const prompt = `Turn ${turn}. ${'Rain fills the upper pool. '.repeat(30)}`;
      await ask(prompt);
      const id = `second-${turn}`;
      const answer = await fetch(`${secondUrl}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-request-id': id },
        body: JSON.stringify({ model: 'tiny', prompt, max_tokens: 1, temperature: 0 }),
      });
      expect(answer.status).toBe(200);
      const record = (await (await fetch(`${secondAdmin}/admin/requests/${id}`)).json()) as {
        attempts: { decision: { candidates: { cachedBlocks: number }[] } }[];
      };
      const most = Math.max(...(record.attempts[0]?.decision.candidates ?? []).map(({ cachedBlocks }) => cachedBlocks));
      expect(most, `turn ${turn}`).toBeGreaterThan(10);
    }
    second.kill('SIGTERM');
    expect((await second.exit).code).toBe(0);
  });

  it('goes on without Redis, which comes back empty', async () => {
    const count = await streamsDuring(async () => {
      await redis.kill();
      await isAway('redis');
      await redis.restart();
    });
    expect(count).toBeGreaterThan(0);
    await expectWell();
  });

  it('goes on while Redis stands still for 10 s', async () => {
    await streamsDuring(async () => {
      redis.signal('SIGSTOP');
      await new Promise((resolve) => setTimeout(resolve, 10_000));
      expect(typeof (await said()).kv.redis).toBe('string');
      redis.signal('SIGCONT');
    });
    await expectWell();
  });

  it('goes on while Redis has no memory left', async () => {
    await streamsDuring(async () => {
      await redis.admin.config('SET', 'maxmemory', '1mb', 'maxmemory-policy', 'noeviction');
      await redis.admin.flushall();
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      await redis.admin.config('SET', 'maxmemory', '0');
    });
    await expectWell();
  });

  it('goes on without NATS, by the instances own feeds, and goes back to the log when it is there again, empty', async () => {
    await streamsDuring(async () => {
      await nats.kill();
      await isAway('nats');
      await untilWithin('feeds tell', async () => (await said()).instances.every(({ blocksFrom }) => blocksFrom === 'feed'), BACK_MS);
      await nats.restart();
    });
    await expectWell();
  });

  it('goes on while NATS stands still', async () => {
    await streamsDuring(async () => {
      nats.signal('SIGSTOP');
      await isAway('nats');
      await untilWithin('feeds tell', async () => (await said()).instances.every(({ blocksFrom }) => blocksFrom === 'feed'), BACK_MS);
      nats.signal('SIGCONT');
    });
    await expectWell();
  });

  it('goes on when both are lost at once', async () => {
    await streamsDuring(async () => {
      await Promise.all([redis.kill(), nats.kill()]);
      await Promise.all([isAway('redis'), isAway('nats')]);
      await Promise.all([redis.restart(), nats.restart()]);
    });
    await expectWell();
  });
});
