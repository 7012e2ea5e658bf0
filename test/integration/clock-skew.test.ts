/**
 * Processes whose wall clocks are wrong by half a minute, each another way, so that two of them differ by a minute: streams, hand-offs, moves,
 * leases, the directory and the log go by monotonic time and by the servers' clocks, and do not notice.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HandOffTicket } from '../../src/engines/index.ts';
import { redisDirectory } from '../../src/kv/directory/redis/index.ts';
import type { SharedDirectory } from '../../src/kv/index.ts';
import type { RequestRecord } from '../../src/router/index.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { type RedisServer, startRedis } from '../servers/redis.ts';
import { until as untilWithin } from '../servers/server.ts';
import { type Engine, Fleet, json, MODEL } from './fleet.ts';
import { ask, difference, GREEDY, prompt, SEEDED } from './session-script.ts';
import { childrenOf, commandLine, type Sandbox, type SluiceProcess, sandbox } from './up-process.ts';

const noServers = findServer('redis-server') === null || findServer('nats-server') === null;
const SKEW_MS = 30_000;
/** Who is wrong by what: of two that talk to each other one is behind, and some of a router's engines are ahead of it and some behind. */
const CLOCKS = { up: -SKEW_MS, router: SKEW_MS / 3, 'prefill-0': SKEW_MS, 'decode-0': -SKEW_MS, 'decode-1': SKEW_MS, kv: -SKEW_MS };
const INSTANCES = ['prefill-0', 'decode-0', 'decode-1'] as const;
const LEASE_MS = 5_000;
/** How long a life lasts in the directory when nobody renews it. */
const LIFE_MS = 15_000;
const WITHIN_MS = 30_000;
/** A timer on a busy machine. */
const LATE_MS = 2_000;

interface Listed {
  readonly id: string;
  readonly incarnation: string;
  readonly url: string;
  readonly inFlight: number;
  readonly blocksFrom: string;
}

interface Said {
  readonly instances: readonly Listed[];
  readonly kv: { readonly redis?: string | null; readonly nats?: string | null };
}

describe.skipIf(noServers)('processes whose clocks are wrong', () => {
  /** Its clock is right, and nobody talks to it but the test. */
  const reference = new Fleet({ roles: [] });
  let alone: Engine;
  let box: Sandbox;
  let redis: RedisServer;
  let nats: NatsServer;
  let directory: SharedDirectory;
  let sluice: SluiceProcess;
  let startedAt = 0;
  let url = '';
  let adminUrl = '';

  beforeAll(async () => {
    const startingAlone = reference.startEngine('alone', 'mixed');
    box = sandbox();
    [redis, nats] = await Promise.all([startRedis(), startNats()]);
    directory = redisDirectory({ servers: { urls: [redis.url] }, space: 'default.skewed', budgetMs: 5_000 });
    const file = join(box.folder, 'deployment.yaml');
    writeFileSync(
      file,
      `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: skewed}
spec:
  model: {name: ${MODEL}, source: "builtin:tiny"}
  engine: {type: llamacpp, contextTokens: 4096, maxSequences: 8}
  prefill: {replicas: 1}
  decode: {replicas: 2}
  kv:
    lease: ${LEASE_MS / 1000}s
    redis: {urls: ["${redis.url}"]}
    nats: {urls: ["${nats.url}"]}
  router: {port: 0}
`,
    );
    startedAt = Date.now();
    sluice = box.run(['up', '-f', file, '--verbose'], skewed);
    const [, found] = await sluice.line(/is ready at (http:\/\/\S+)\/v1/);
    url = found ?? '';
    const [state] = box.runStates();
    adminUrl = JSON.parse(readFileSync(join(box.folder, 'sluice', state ?? ''), 'utf8')).adminUrl;
    alone = await startingAlone;
  }, 300_000);
  afterAll(async () => {
    await directory?.close();
    await box?.close();
    await reference.stop();
    await redis?.stop();
    await nats?.stop();
  });

  const skewed = {
    NODE_OPTIONS: `--import=${fileURLToPath(new URL('./shifted-clock.ts', import.meta.url))}`,
    SLUICE_TEST_CLOCKS: JSON.stringify(CLOCKS),
  };
  const said = () => json<Said>(`${adminUrl}/admin/instances`);
  const record = (id: string) => json<RequestRecord>(`${adminUrl}/admin/requests/${id}`);
  const urlOf = async (id: string) => (await said()).instances.find((one) => one.id === id)?.url ?? '';

  async function metric(id: string, name: string): Promise<number> {
    const page = await (await fetch(`${await urlOf(id)}/metrics`)).text();
    return Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(page)?.[1]);
  }

  /** Leases that an engine has given and that are not over. */
  const leases = async (at: string) => (await reference.load({ url: at })).leases;

  it('are wrong by what was asked', async () => {
    for (const id of INSTANCES) {
      const engineStart = (await metric(id, 'process_start_time_seconds')) * 1_000 - CLOCKS[id];
      expect(engineStart, id).toBeGreaterThan(startedAt - LATE_MS);
      expect(engineStart, id).toBeLessThan(Date.now());
    }
    const askedAt = Date.now();
    await ask(url, { ...GREEDY, prompt: prompt(40), max_tokens: 4 }, { id: 'when' });
    const recorded = (await record('when')).startedAt - CLOCKS.router;
    expect(recorded).toBeGreaterThanOrEqual(askedAt);
    expect(recorded).toBeLessThanOrEqual(Date.now());
  });

  it('know by log and directory what there is', async () => {
    await untilWithin(
      'all is told by the log',
      async () => {
        const { kv, instances } = await said();
        return kv.redis === null && kv.nats === null && instances.length === 3 && instances.every(({ blocksFrom }) => blocksFrom === 'log');
      },
      WITHIN_MS,
    );
    await untilWithin('all is published', async () => (await directory.stats()).filter(({ bytes }) => bytes > 0).length === 3, WITHIN_MS);
    for (const { instance, lifeMs } of await directory.stats()) {
      expect(lifeMs, instance).toBeGreaterThan(0);
      expect(lifeMs, instance).toBeLessThanOrEqual(LIFE_MS);
    }
  });

  it('hand KV over, with the right tokens', async () => {
    // What decodes on both would be held up by a prompt: it is computed elsewhere, however slow that was on a busy machine.
    const over = new AbortController();
    const body = JSON.stringify({ model: MODEL, prompt: prompt(40), max_tokens: 3_500, ignore_eos: true, stream: true });
    const headers = { 'content-type': 'application/json' };
    const read = async () => (await fetch(`${url}/v1/completions`, { method: 'POST', headers, body, signal: over.signal })).text();
    const others = Array.from({ length: 8 }, () => read().catch(() => ''));
    const decoding = async () => (await said()).instances.flatMap(({ id, inFlight }) => (id.startsWith('decode') ? [inFlight] : []));
    await untilWithin('both decode some', async () => (await decoding()).every((streams) => streams > 1), WITHIN_MS);
    for (let turn = 0; turn < 3; turn += 1) {
      const body = { ...(turn % 2 === 0 ? GREEDY : SEEDED), max_tokens: 40, prompt: prompt(600) };
      const expected = await ask(alone.url, body);
      expect(difference(await ask(url, body, { id: `turn-${turn}` }), expected)).toBeNull();
      const { outcome, resumes, attempts } = await record(`turn-${turn}`);
      expect({ outcome, resumes, attempts: attempts.length }).toEqual({ outcome: 'ok', resumes: 0, attempts: 1 });
      const report = attempts[0]?.decode?.report;
      expect(report?.handOff?.failed, JSON.stringify(attempts[0]?.decision)).toBeNull();
      expect(report?.reused?.peer).toBeGreaterThan(500);
    }
    over.abort();
    await Promise.all(others);
    await untilWithin('nobody decodes', async () => (await decoding()).every((streams) => streams === 0), WITHIN_MS);
  });

  it('move streams when they are told to, and none is lost', { timeout: 600_000 }, async () => {
    const bodies = [GREEDY, SEEDED].map((sampling) => ({ ...sampling, max_tokens: 3_000, prompt: prompt(300) }));
    let begun = 0;
    const asked = bodies.map((body, index) =>
      ask(url, body, { id: `move-${index}`, onEvent: (events) => (begun += events === 5 ? 1 : 0) }),
    );
    await untilWithin('both decode', async () => begun === bodies.length, WITHIN_MS);
    const drained = box.run(['kv', 'drain', 'decode-0'], skewed);
    expect((await drained.exit).code, drained.stderr()).toBe(0);
    expect(drained.stdout()).toMatch(/^decode-0: \d streams? moved in .*\nnothing is left on it\n$/);
    // And back, from a clock that is ahead to one that is behind.
    const order = (id: string, verb: string) => fetch(`${adminUrl}/admin/instances/${id}/${verb}`, { method: 'POST' });
    await order('decode-0', 'undrain');
    expect(await (await order('decode-1', 'drain')).json()).toMatchObject({ moved: bodies.length, left: 0, aborted: {} });
    await order('decode-1', 'undrain');
    const said = await Promise.all(asked);
    const expected = await Promise.all(bodies.map((body) => ask(alone.url, body)));
    for (const [index, one] of said.entries()) expect(difference(one, expected[index] as typeof one)).toBeNull();
    const records = await Promise.all(bodies.map((_, index) => record(`move-${index}`)));
    for (const { moves, resumes, outcome } of records) {
      expect(moves.at(-1)).toMatchObject({ state: 'released', way: 'blocks' });
      expect([resumes, outcome]).toEqual([0, 'ok']);
    }
  });

  it('leave no lease, and have let none run out', async () => {
    for (const id of INSTANCES) {
      const at = await urlOf(id);
      await untilWithin(`${id} has given its leases back`, async () => (await leases(at)) === 0, WITHIN_MS);
      expect(await metric(id, 'vllm:nixl_num_kv_expired_reqs_total'), id).toBe(0);
      expect(await metric(id, 'vllm:nixl_num_failed_transfers_total'), id).toBe(0);
    }
    expect(await json(`${adminUrl}/admin/leftovers`)).toEqual({ reservations: 0, openLegs: 0, inFlight: 0, queued: 0 });
  });

  it('end a lease that nobody takes when its time is over, neither sooner nor later', async () => {
    const at = await urlOf('prefill-0');
    const answer = await fetch(`${at}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-sluice-leg': 'prefill' },
      body: JSON.stringify({ model: MODEL, prompt: prompt(400), max_tokens: 1 }),
    });
    const leasedAt = performance.now();
    const { ticket } = (await answer.json()) as { ticket: HandOffTicket };
    expect(ticket).toMatchObject({ leaseMs: LEASE_MS, blocks: expect.any(Number) });
    while (performance.now() < leasedAt + LEASE_MS - LATE_MS) expect(await leases(at)).toBeGreaterThan(0);
    await untilWithin('it is over', async () => (await leases(at)) === 0, LEASE_MS + LATE_MS);
    expect(performance.now() - leasedAt).toBeLessThan(LEASE_MS + LATE_MS);
    expect(await metric('prefill-0', 'vllm:nixl_num_kv_expired_reqs_total')).toBe(1);
  });

  it('are gone from the directory when their time is over by its clock, and are back when they go on', async () => {
    const isDecode = (pid: number) => commandLine(pid).includes('--instance decode-1');
    const pid = childrenOf(sluice.pid).find(isDecode) ?? 0;
    const lives = async () => (await directory.stats()).map(({ instance }) => instance);
    const incarnation = async () => (await said()).instances.find(({ id }) => id === 'decode-1')?.incarnation;
    const before = await incarnation();
    const frozenAt = performance.now();
    // Who watches over it would replace it, now before its life is over and now after.
    process.kill(sluice.pid, 'SIGSTOP');
    process.kill(pid, 'SIGSTOP');
    try {
      await untilWithin('its life is over', async () => !(await lives()).includes('decode-1'), LIFE_MS + LATE_MS);
    } finally {
      process.kill(pid, 'SIGCONT');
      process.kill(sluice.pid, 'SIGCONT');
    }
    // It renews its life long before it ends.
    expect(performance.now() - frozenAt).toBeGreaterThan(LIFE_MS / 2);
    await untilWithin(
      'it is back with what it holds',
      async () => {
        const life = (await directory.stats()).find(({ instance }) => instance === 'decode-1');
        return (life?.bytes ?? 0) > 0 && (await said()).instances.every(({ blocksFrom }) => blocksFrom === 'log');
      },
      WITHIN_MS,
    );
    expect(await incarnation()).toBe(before);
    const body = { ...GREEDY, prompt: prompt(200) };
    expect(difference(await ask(url, body), await ask(alone.url, body))).toBeNull();
  });
});
