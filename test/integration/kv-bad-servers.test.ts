/**
 * `sluice up` with servers of the KV tier that cannot be used: a Redis that does not let it in, a NATS without JetStream. Requests are answered, it is
 * said what is wrong and what to do, and once it is put right all is used without anything being started again.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisDirectory } from '../../src/kv/directory/redis/index.ts';
import type { KvView } from '../../src/router/index.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { until as untilWithin } from '../servers/server.ts';
import { json } from './fleet.ts';
import { type Sandbox, type SluiceProcess, sandbox } from './up-process.ts';

const noServers = findServer('redis-server') === null || findServer('nats-server') === null;
const WITHIN_MS = 60_000;
const WRONG = 'word-that-is-wrong';

interface Said {
  readonly instances: readonly { readonly id: string; readonly blocksFrom: string }[];
  readonly kv: { readonly redis?: string | null; readonly nats?: string | null };
}

describe.skipIf(noServers)('a deployment whose servers cannot be used', () => {
  let box: Sandbox;
  let redis: RedisServer;
  let nats: NatsServer;
  let sluice: SluiceProcess;
  let streams: string;
  let url = '';
  let adminUrl = '';
  let asked = 0;

  beforeAll(async () => {
    box = sandbox();
    redis = await startRedis({ conf: ['user default on >right ~* &* +@all'], admin: { password: 'right' } });
    const more = join(box.folder, 'nats');
    mkdirSync(more);
    streams = join(more, 'more.conf');
    writeFileSync(streams, '# no JetStream\n');
    // Paths are those from the folder of the configuration, which is beside ours or in it.
    nats = await startNats({ jetStream: false, conf: [`include "../${basename(box.folder)}/nats/more.conf"`] });
    const file = join(box.folder, 'deployment.yaml');
    writeFileSync(
      file,
      `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: barred}
spec:
  model: {name: simulated}
  engine: {type: sim, contextTokens: 2048, maxSequences: 4, sim: {costs: {prefillPerToken: 0.1}}}
  decode: {replicas: 2}
  kv:
    hbm: {capacity: 1Mi}
    host: {capacity: 1Mi}
    store: {redis: {url: "${redis.url}"}, capacity: 64Mi}
    redis: {urls: ["${redis.url}"], credentials: {env: KV}}
    nats: {urls: ["${nats.url}"]}
  router: {port: 0}
`,
    );
    sluice = box.run(['up', '-f', file], { KV_PASSWORD: WRONG, SLUICE_STORE_PASSWORD: WRONG });
    const [, found] = await sluice.line(/is ready at (http:\/\/\S+)\/v1/);
    url = found ?? '';
    const [state] = box.runStates();
    adminUrl = JSON.parse(readFileSync(join(box.folder, 'sluice', state ?? ''), 'utf8')).adminUrl;
  });
  afterAll(async () => {
    sluice?.kill('SIGTERM');
    await sluice?.exit;
    await box?.close();
    await redis?.stop();
    await nats?.stop();
  });

  const said = () => json<Said>(`${adminUrl}/admin/instances`);
  const stores = async () => (await json<KvView>(`${adminUrl}/admin/kv`)).instances.map(({ tiers }) => tiers.store?.reason);

  /** About 1,000 tokens that nobody had before. */
  async function ask(): Promise<void> {
    asked += 1;
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'simulated', prompt: `${asked} `.padEnd(4_000, `${asked}-`), max_tokens: 4, temperature: 0 }),
    });
    const body = (await response.json()) as { choices?: { text: string }[] };
    expect(response.status, JSON.stringify(body)).toBe(200);
    expect(body.choices?.[0]?.text).not.toBe('');
  }

  it('answers requests, and says what is wrong and what to do', async () => {
    for (let turn = 0; turn < 8; turn += 1) await ask();
    await untilWithin(
      'both are known to be of no use',
      async () => {
        const { kv, instances } = await said();
        // Before they are reached at all they are away for another reason.
        const areRefused = /is not accepted/.test(kv.redis ?? '') && /JetStream is off/.test(kv.nats ?? '');
        return areRefused && instances.every(({ blocksFrom }) => blocksFrom === 'feed');
      },
      WITHIN_MS,
    );
    const { kv, instances } = await said();
    expect(kv.redis).toMatch(/^Redis at redis:\S+: username or password is not accepted: set the ones of an ACL user of the server/);
    expect(kv.nats).toMatch(/^NATS at nats:\S+: JetStream is off: start nats-server with -js/);
    expect(instances.map(({ blocksFrom }) => blocksFrom)).toEqual(['feed', 'feed']);
    await untilWithin('the stores know it', async () => (await stores()).every((reason) => reason === 'Denied'), WITHIN_MS);
    const stat = box.run(['kv', 'stat']);
    expect((await stat.exit).code).toBe(0);
    expect(stat.stdout()).toMatch(/store Denied: Redis at redis:\S+: username or password is not accepted/);
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/sluice_router_kv_server_up\{[^}]*server="nats"[^}]*\} 0/);
    const all = [sluice.stdout(), sluice.stderr(), stat.stdout(), JSON.stringify(kv)].join('\n');
    expect(all).not.toContain(WRONG);
    expect(await redis.admin.dbsize()).toBe(0);
  });

  it('uses them as soon as they can be used', async () => {
    await redis.admin.call('ACL', 'SETUSER', 'default', `>${WRONG}`);
    writeFileSync(streams, `jetstream { store_dir: "${join(box.folder, 'nats', 'streams')}" }\n`);
    await nats.restart();
    await untilWithin(
      'both are used',
      async () => {
        const { kv, instances } = await said();
        return kv.redis === null && kv.nats === null && instances.every(({ blocksFrom }) => blocksFrom === 'log');
      },
      WITHIN_MS,
    );
    await untilWithin(
      'blocks are stored again',
      async () => {
        await ask();
        return (await stores()).includes('Ready');
      },
      WITHIN_MS,
    );
    const directory = redisDirectory({ servers: { urls: [redis.url], password: WRONG }, space: 'default.barred', budgetMs: 2_000 });
    await untilWithin(
      'both instances publish what they hold',
      async () => (await directory.stats()).filter(({ bytes }) => bytes > 0).length === 2,
      WITHIN_MS,
    );
    await directory.close();
  });
});
