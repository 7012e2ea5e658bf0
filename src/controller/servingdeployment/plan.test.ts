import { describe, expect, it } from 'vitest';
import type { InstanceSpec, Observed, ObservedInstance, ObservedRouter, RoutedInstance } from '../../platform/index.ts';
import type { Desired } from './desired.ts';
import { plan } from './plan.ts';
import { condition, status } from './status.ts';

const SPEC: InstanceSpec = {
  role: 'decode',
  engine: 'sim',
  modelName: 'm',
  modelSource: 'builtin:tiny',
  modelRevision: 'main',
  dtype: null,
  accelerator: null,
  tensorParallel: null,
  contextTokens: 64,
  maxSequences: 1,
  blockTokens: 16,
  hbmBytes: 1,
  hostBytes: 1,
  leaseMs: 1,
  args: [],
  env: {},
  costs: null,
  pod: null,
};

function wanted(replicas: number, revision = 'new'): Desired {
  return {
    name: 'd',
    model: 'm',
    family: 'f',
    paused: false,
    drainTimeoutMs: 10_000,
    pools: { decode: { replicas, spec: SPEC, revision } },
    router: {
      replicas: 1,
      address: 'own',
      spec: { host: 'h', port: 0, image: null, modelName: 'm', config: '{}', graceMs: 1 },
      revision: 'r',
    },
  };
}

function instance(name: string, change: Partial<ObservedInstance> = {}): ObservedInstance {
  return {
    name,
    role: 'decode',
    modelName: 'm',
    revision: 'new',
    family: 'f',
    phase: 'ready',
    incarnation: `${name}-life`,
    startedMs: 0,
    failedMs: null,
    failures: 0,
    lastError: null,
    heals: false,
    drainingSinceMs: null,
    address: { url: `http://${name}`, transfer: { host: 'x', port: 1 } },
    ...change,
  };
}

function routed(one: ObservedInstance, change: Partial<RoutedInstance> = {}): RoutedInstance {
  return {
    name: one.name,
    incarnation: one.incarnation ?? '',
    draining: one.drainingSinceMs !== null,
    connected: true,
    inFlight: 0,
    ...change,
  };
}

function router(instances: readonly RoutedInstance[] | null, change: Partial<ObservedRouter> = {}): ObservedRouter {
  return {
    name: 'router-0',
    revision: 'r',
    phase: 'ready',
    startedMs: 0,
    failedMs: null,
    failures: 0,
    lastError: null,
    heals: false,
    accepting: true,
    url: 'http://r',
    adminUrl: 'http://a',
    serving: true,
    instances,
    ...change,
  };
}

function observed(instances: readonly ObservedInstance[], routers: readonly ObservedRouter[]): Observed {
  return { instances, routers, takenNames: [] };
}

/** A world in which the router knows all ready instances, with so many requests on each. */
function world(instances: readonly ObservedInstance[], inFlight: Readonly<Record<string, number>> = {}): Observed {
  const known = instances.filter((one) => one.phase === 'ready').map((one) => routed(one, { inFlight: inFlight[one.name] ?? 0 }));
  return observed(instances, [router(known)]);
}

function steps(desired: Desired, seen: Observed, nowMs = 0): string[] {
  return plan(desired, seen, nowMs).map((step) => {
    if (step.type !== 'publishInstances') return `${step.type} ${step.name}: ${step.reason}`;
    return `publish ${step.instances.map((one) => `${one.id}${one.draining ? ' (draining)' : ''}`).join(', ')}: ${step.reason}`;
  });
}

describe('plan', () => {
  it('starts everything when there is nothing', () => {
    expect(steps(wanted(2), observed([], []))).toEqual([
      'startInstance decode-0: 2 of 2 wanted are missing',
      'startInstance decode-1: 2 of 2 wanted are missing',
      'startRouter router-0: no router runs',
    ]);
  });

  it('does nothing when all is as wanted', () => {
    expect(steps(wanted(2), world([instance('decode-0'), instance('decode-1')]))).toEqual([]);
  });

  it('tells the router of instances that are new, restarted or gone', () => {
    const one = instance('decode-0');
    expect(steps(wanted(1), observed([one], [router([])]))).toEqual(['publish decode-0: decode-0 is new']);
    const old = routed(one, { incarnation: 'before' });
    expect(steps(wanted(1), observed([one], [router([old])]))).toEqual(['publish decode-0: decode-0 was restarted']);
    const failed = instance('decode-0', { phase: 'failed', failedMs: 0, failures: 1, lastError: 'killed by SIGKILL' });
    expect(steps(wanted(1), observed([failed], [router([routed(one)])]))).toEqual(['publish : decode-0 is gone']);
  });

  it('takes no instance away from a router that we know less of than the router does', () => {
    const one = instance('decode-0', { incarnation: null, address: null });
    expect(steps(wanted(1), observed([one], [router([routed(one, { incarnation: 'before' })])]))).toEqual([]);
    expect(steps(wanted(1), observed([one], [router([])]))).toEqual([]);
  });

  it('restarts what failed once its backoff is over', () => {
    const failed = instance('decode-0', { phase: 'failed', failedMs: 1_000, failures: 2, lastError: 'killed by SIGKILL' });
    expect(steps(wanted(1), world([failed]), 1_499)).toEqual([]);
    expect(steps(wanted(1), world([failed]), 1_500)).toEqual(['restartInstance decode-0: failure 2: killed by SIGKILL']);
  });

  it('drains the emptiest, then the youngest, when fewer are wanted', () => {
    const three = [instance('decode-0'), instance('decode-1', { startedMs: 5 }), instance('decode-2', { startedMs: 1 })];
    const busy = { 'decode-0': 0, 'decode-1': 3, 'decode-2': 0 };
    expect(steps(wanted(2), world(three, busy))).toEqual(['drainInstance decode-2: above the 2 wanted']);
    expect(steps(wanted(2), world(three))).toEqual(['drainInstance decode-1: above the 2 wanted']);
  });

  it('stops a draining instance only when its router knows and has nothing on it, or after the timeout', () => {
    const draining = instance('decode-1', { drainingSinceMs: 100 });
    const both = [instance('decode-0'), draining];
    expect(steps(wanted(1), world(both, { 'decode-1': 1 }))).toEqual([]);
    expect(steps(wanted(1), world(both))).toEqual(['stopInstance decode-1: drained: no request is left on it']);
    const unaware = observed(both, [router(both.map((one) => routed(one, { draining: false })))]);
    expect(steps(wanted(1), unaware)).toEqual(['publish decode-0, decode-1 (draining): decode-1 drains']);
    expect(steps(wanted(1), world(both, { 'decode-1': 1 }), 10_100)).toEqual([
      'stopInstance decode-1: drain timeout of 10000 ms: 1 requests are still on it',
    ]);
  });

  it('rolls by adding one, and lets the old one go only when the new one is routable', () => {
    const old = [instance('decode-0', { revision: 'old' }), instance('decode-1', { revision: 'old' })];
    expect(steps(wanted(2), world(old))).toEqual(['startInstance decode-2: takes the place of an outdated one (2 left)']);
    expect(steps(wanted(2), world([...old, instance('decode-2', { phase: 'starting' })]))).toEqual([]);
    const unknown: Observed = observed([...old, instance('decode-2')], [router(old.map((one) => routed(one)))]);
    expect(steps(wanted(2), unknown)).toEqual(['publish decode-0, decode-1, decode-2: decode-2 is new']);
    expect(steps(wanted(2), world([...old, instance('decode-2')]))).toEqual([
      'drainInstance decode-1: its spec changed and another one serves',
    ]);
  });

  it('rolls one by one, too, while it cannot tell what is in use, as an operator that has just started', () => {
    const old = [instance('decode-0', { revision: 'old' }), instance('decode-1', { revision: 'old' })];
    const starts = (...seen: Parameters<typeof observed>) =>
      steps(wanted(2), observed(...seen)).filter((step) => step.startsWith('startInstance'));
    const known = old.map((one) => routed(one));
    const one = ['startInstance decode-2: takes the place of an outdated one (2 left)'];
    // The router does not answer, none runs yet, or the instances have not said who they are.
    expect(starts(old, [router(null)])).toEqual(one);
    expect(starts(old, [router(null, { phase: 'starting' })])).toEqual(one);
    expect(starts(old, [])).toEqual(one);
    expect(
      starts(
        old.map((silent) => ({ ...silent, incarnation: null })),
        [router(known)],
      ),
    ).toEqual(one);
    // That nobody uses them is known here: they are in nobody's way.
    expect(starts(old, [router(known.map((routed) => ({ ...routed, connected: false })))])).toHaveLength(2);
    expect(starts(old, [router([])])).toHaveLength(2);
  });

  it('keeps requests from a changed family until all of it is ready and known, and then changes over at once', () => {
    const old = instance('decode-0', { family: 'g', revision: 'old', modelName: 'before' });
    const [first, second] = [instance('decode-1'), instance('decode-2')];
    const held = (one: ObservedInstance, connected: boolean) => routed(one, { draining: true, connected });
    const starting = observed([old, first, { ...second, phase: 'starting' }], [router([routed(old)])]);
    expect(steps(wanted(2), starting)).toEqual(['publish decode-0, decode-1 (draining): decode-1 is new']);
    const coming = (connected: boolean): Observed =>
      observed([old, first, second], [router([routed(old), held(first, true), held(second, connected)])]);
    expect(steps(wanted(2), coming(false))).toEqual([]);
    expect(steps(wanted(2), coming(true))).toEqual(['publish decode-0 (draining), decode-1, decode-2: decode-0 drains']);
    expect(plan(wanted(2), starting, 0)).toMatchObject([{ model: 'before' }]);
    expect(plan(wanted(2), coming(true), 0)).toMatchObject([{ model: 'm' }]);
  });

  const shared = (count: number, replicas = 2): Desired => {
    const desired = wanted(count);
    return { ...desired, router: { ...desired.router, address: 'shared', replicas } };
  };

  it('lets an instance go only when no router may place on it, and counts what all of them have on it', () => {
    const draining = instance('decode-1', { drainingSinceMs: 0 });
    const both = [instance('decode-0'), draining];
    const knows = router(both.map((one) => routed(one)));
    const other = (change: Partial<RoutedInstance>, phase: 'ready' | 'stopping' = 'ready') =>
      router(
        both.map((one) => routed(one, one === draining ? change : {})),
        { name: 'router-1', phase },
      );
    const stops = (second: ObservedRouter) =>
      steps(shared(1), observed(both, [knows, second])).filter((step) => step.startsWith('stopInstance'));
    expect(stops(other({}))).toEqual(['stopInstance decode-1: drained: no request is left on it']);
    expect(stops(other({ draining: false }))).toEqual([]);
    expect(stops(other({ draining: false }, 'stopping'))).toEqual([]);
    expect(stops(other({ inFlight: 1 }, 'stopping'))).toEqual([]);
    expect(stops({ ...other({}), instances: null })).toEqual([]);
    expect(stops({ ...other({}), instances: null, phase: 'failed' })).toHaveLength(1);
  });

  it('drains an outdated instance only when every router that takes requests can use the new one', () => {
    const [old, fresh] = [instance('decode-0', { revision: 'old' }), instance('decode-1')];
    const knows = (name: string, connected: boolean, serving = true) =>
      router([routed(old), routed(fresh, { connected })], { name, serving });
    const drains = (...routers: ObservedRouter[]) =>
      steps(shared(1), observed([old, fresh], routers)).filter((step) => step.startsWith('drainInstance'));
    expect(drains(knows('router-0', true), knows('router-1', true))).toHaveLength(1);
    expect(drains(knows('router-0', true), knows('router-1', false))).toEqual([]);
    // One that takes no requests yet loses nothing.
    expect(drains(knows('router-0', true), knows('router-1', false, false))).toHaveLength(1);
    expect(drains(knows('router-0', true), { ...knows('router-1', true), instances: null })).toEqual([]);
  });

  it('replaces routers behind one address one by one, new ones first', () => {
    const one = instance('decode-0');
    type Spec = readonly [revision: string, serving: boolean];
    const routers = (...specs: Spec[]) =>
      specs.map(([revision, serving], index) => router([routed(one)], { name: `router-${index}`, revision, serving }));
    const take = (...specs: Spec[]) => steps(shared(1), observed([one], routers(...specs)));
    expect(take(['r', true])).toEqual(['startRouter router-1: 1 of 2 wanted are missing']);
    expect(take(['old', true], ['old', true])).toEqual(['startRouter router-2: takes the place of an outdated one (2 left)']);
    expect(take(['old', true], ['old', true], ['r', false])).toEqual([]);
    expect(take(['old', true], ['old', true], ['r', true])).toEqual(['stopRouter router-1: its spec changed']);
    expect(take(['r', true], ['r', true], ['r', true])).toEqual(['stopRouter router-2: above the 2 wanted']);
  });

  it('uses no name that belongs to others, and leaves alone what its platform starts again', () => {
    const none: Observed = { ...observed([], []), takenNames: ['decode-0', 'router-0'] };
    expect(steps(wanted(1), none)).toEqual(['startInstance decode-1: 1 of 1 wanted are missing', 'startRouter router-1: no router runs']);
    const crashed = instance('decode-0', { phase: 'failed', failedMs: 0, failures: 1, heals: true });
    expect(steps(wanted(1), world([crashed]), 100_000)).toEqual([]);
  });

  it('replaces a changed router only after the old one let go of the port', () => {
    const one = instance('decode-0');
    const old = router([routed(one)], { revision: 'before' });
    expect(steps(wanted(1), observed([one], [old]))).toEqual(['stopRouter router-0: its spec changed']);
    const closing = { ...old, phase: 'stopping' as const };
    expect(steps(wanted(1), observed([one], [closing]))).toEqual([]);
    expect(steps(wanted(1), observed([one], [{ ...closing, accepting: false }]))).toEqual(['startRouter router-1: no router runs']);
  });
});

describe('status', () => {
  it('says what keeps an instance or a router from starting, and what was refused', () => {
    const stuck = instance('decode-0', { phase: 'starting', lastError: 'no node has an nvidia-h100: add one' });
    const now = status(wanted(1), world([stuck]));
    expect(condition(now, 'Ready')).toMatchObject({
      status: false,
      reason: 'InstancesBlocked',
      message: '0 of 1 decode instances are ready; decode-0 cannot start: no node has an nvidia-h100: add one',
    });
    const routers = [router(null, { phase: 'starting', lastError: 'image not found' })];
    expect(condition(status(wanted(1), observed([], routers)), 'RouterReady')).toMatchObject({
      reason: 'RouterBlocked',
      message: 'router-0 cannot start: image not found',
    });
    const start = plan(wanted(1), observed([], [router([])]), 0).find(({ type }) => type === 'startInstance');
    if (!start) throw new Error('nothing is started');
    const refused = [{ step: start, outcome: { ok: false, field: null, message: 'exceeded quota' } } as const];
    const refusal = status(wanted(1), observed([], [router([])]), refused);
    expect(condition(refusal, 'DecodeReady')?.message).toBe(
      '0 of 1 decode instances are ready; decode-0 cannot be started: exceeded quota',
    );
    expect(condition(refusal, 'Stalled')).toMatchObject({ status: true, reason: 'StartRefused' });
  });

  it('is stalled when something that is wanted keeps failing', () => {
    const failing = (failures: number) => instance('decode-0', { phase: 'failed', failures, failedMs: 0, lastError: 'exit code 1' });
    const stalled = (one: ObservedInstance) => condition(status(wanted(1), world([one])), 'Stalled');
    expect(stalled(failing(2))).toMatchObject({ status: false });
    expect(stalled(failing(3))).toMatchObject({ status: true, message: 'decode-0 failed 3 times, last: exit code 1' });
    expect(stalled({ ...failing(3), phase: 'ready' })).toMatchObject({ status: false });
    expect(stalled({ ...failing(3), revision: 'outdated' })).toMatchObject({ status: false });
    const one = instance('decode-0');
    const stuck = status(wanted(1), observed([one], [router([], { phase: 'failed', failures: 3, failedMs: 0 })]));
    expect(condition(stuck, 'Stalled')).toMatchObject({ status: true, reason: 'KeepsFailing' });
    const told = stuck.conditions.filter(({ status }) => status).map(({ type }) => type);
    expect(told.indexOf('Stalled')).toBeLessThan(told.indexOf('Reconciling'));
  });

  it('is not settled while there is more than wanted', () => {
    const now = status(wanted(1), world([instance('decode-0'), instance('decode-1')]));
    expect(condition(now, 'Ready')).toMatchObject({ status: true });
    expect(condition(now, 'Reconciling')).toMatchObject({
      status: true,
      reason: 'Draining',
      message: '1 processes are above the wanted count',
    });
  });

  it('is ready when pools are full and a request went through', () => {
    const now = status(wanted(1), world([instance('decode-0')]));
    expect(now.conditions.map((one) => [one.type, one.status, one.reason])).toEqual([
      ['Ready', true, 'Serving'],
      ['DecodeReady', true, 'InstancesReady'],
      ['RouterReady', true, 'Serving'],
      ['Stalled', false, 'NothingKeepsFailing'],
      ['Reconciling', false, 'Settled'],
    ]);
    expect(now.roles).toEqual([{ role: 'decode', desired: 1, ready: 1, updated: 1, draining: 0 }]);
  });

  it('says which part is missing and why', () => {
    const failing = instance('decode-0', { phase: 'failed', failures: 2, failedMs: 0, lastError: 'exit code 1: no such file' });
    const now = status(wanted(1), world([failing]));
    expect(condition(now, 'Ready')).toEqual({
      type: 'Ready',
      status: false,
      reason: 'InstancesFailing',
      message: '0 of 1 decode instances are ready; decode-0 failed 2 times, last: exit code 1: no such file',
    });
    expect(condition(status(wanted(1), observed([], [])), 'RouterReady')).toMatchObject({
      status: false,
      reason: 'RouterMissing',
    });
  });
});

describe('KVTierReady', () => {
  const shared: Desired = { ...wanted(1), kv: ['redis', 'nats'] };
  const tier = (kv: ObservedRouter['kv']) =>
    condition(status(shared, observed([], [router([], kv === undefined ? {} : { kv })])), 'KVTierReady');

  it('is absent where no server is named', () => {
    expect(condition(status(wanted(1), observed([], [router([])])), 'KVTierReady')).toBeNull();
  });

  it('names the KVTier that the servers are of, and is there also when routers have none of it', () => {
    const of = (change: Partial<Desired>, kv: ObservedRouter['kv']) =>
      condition(status({ ...shared, tier: 'team', ...change }, observed([], [router([], kv === undefined ? {} : { kv })])), 'KVTierReady');
    expect(of({}, { redis: null, nats: null })?.message).toBe('routers use Redis and NATS of KVTier team');
    expect(of({}, { redis: null, nats: 'no' })?.message).toBe('router-0 does without NATS of KVTier team: no');
    expect(of({ kv: [] }, undefined)).toMatchObject({ status: true, reason: 'TierApplied' });
  });

  it('says what routers say, and is no part of Ready', () => {
    expect(tier(undefined)).toMatchObject({ status: false, reason: 'NotSaid' });
    expect(tier({ redis: null })).toMatchObject({ status: false, reason: 'NotSaid' });
    expect(tier({ redis: null, nats: null })).toMatchObject({ status: true, reason: 'Connected', message: 'routers use Redis and NATS' });
    expect(tier({ redis: 'Redis at r: no', nats: null })).toMatchObject({
      status: false,
      reason: 'RedisAway',
      message: 'router-0 does without Redis: Redis at r: no',
    });
    expect(tier({ redis: null, nats: 'NATS at n: no' })).toMatchObject({ status: false, reason: 'NatsAway' });
    const well = status(shared, world([instance('a')]));
    expect([condition(well, 'Ready')?.status, condition(well, 'KVTierReady')?.status]).toEqual([true, false]);
  });
});
