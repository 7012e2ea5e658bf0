import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { condition, type Desired, plan, status } from '../../src/controller/index.ts';
import type { Role } from '../../src/platform/index.ts';
import { instanceSpec } from '../../src/platform/spec.fixture.ts';
import { SimulatedPlatform } from './simulated-platform.ts';

interface Wanted {
  readonly prefill: number | null;
  readonly decode: number;
  readonly version: number;
  readonly family: number;
  readonly router: number;
  /** Absent: one, with an address of its own. */
  readonly routers?: number;
  readonly paused?: boolean;
}

function desired(wanted: Wanted): Desired {
  const pool = (role: Role, replicas: number) => ({
    replicas,
    spec: instanceSpec({ role }),
    revision: `${wanted.family}.${wanted.version}`,
  });
  return {
    name: 'd',
    model: 'm',
    family: `f${wanted.family}`,
    paused: wanted.paused ?? false,
    drainTimeoutMs: 1_000_000,
    pools:
      wanted.prefill === null
        ? { mixed: pool('mixed', wanted.decode) }
        : { prefill: pool('prefill', wanted.prefill), decode: pool('decode', wanted.decode) },
    router: {
      replicas: wanted.routers ?? 1,
      address: wanted.routers === undefined ? 'own' : 'shared',
      spec: { host: 'h', port: 0, image: null, modelName: 'm', config: `${wanted.router}`, graceMs: 1 },
      revision: `r${wanted.router}`,
    },
  };
}

const counts: fc.Arbitrary<Wanted> = fc.record({
  prefill: fc.option(fc.integer({ min: 0, max: 3 }), { freq: 3 }),
  decode: fc.integer({ min: 1, max: 4 }),
  version: fc.integer({ min: 0, max: 2 }),
  family: fc.integer({ min: 0, max: 1 }),
  router: fc.integer({ min: 0, max: 1 }),
});
/** Several routers behind one address, as pods that the kubelet restarts. */
const pods: fc.Arbitrary<Wanted & { readonly routers: number }> = fc
  .tuple(counts, fc.integer({ min: 1, max: 3 }))
  .map(([wanted, routers]) => ({ ...wanted, routers }));
const times = fc.record({ startTicks: fc.integer({ min: 1, max: 4 }), requestTicks: fc.integer({ min: 1, max: 4 }) });

const TICK_MS = 100;
const MAX_TICKS = 800;

async function round(platform: SimulatedPlatform, want: Desired): Promise<number> {
  const steps = plan(want, await platform.observe(), platform.nowMs);
  for (const step of steps) await platform.apply(step);
  return steps.length;
}

/** Until a plan is empty and everything is as wanted; `onTick` runs after every tick. */
async function settle(platform: SimulatedPlatform, want: Desired, onTick: () => Promise<void> = async () => {}): Promise<void> {
  for (let ticks = 0; ticks < MAX_TICKS; ticks++) {
    const taken = await round(platform, want);
    const now = status(want, await platform.observe());
    if (taken === 0 && condition(now, 'Ready')?.status && !condition(now, 'Reconciling')?.status) return;
    platform.tick(TICK_MS);
    await onTick();
  }
  throw new Error(`not settled: ${JSON.stringify(status(want, await platform.observe()))}`);
}

async function expectExactly(platform: SimulatedPlatform, wanted: Wanted): Promise<void> {
  const { instances, routers } = await platform.observe();
  const count = (role: Role) => instances.filter((instance) => instance.role === role).length;
  const pools = {
    prefill: wanted.prefill ?? 0,
    decode: wanted.prefill === null ? 0 : wanted.decode,
    mixed: wanted.prefill === null ? wanted.decode : 0,
  };
  expect({ prefill: count('prefill'), decode: count('decode'), mixed: count('mixed') }).toEqual(pools);
  expect(new Set(instances.map((instance) => instance.revision))).toEqual(
    instances.length > 0 ? new Set([`${wanted.family}.${wanted.version}`]) : new Set(),
  );
  expect(routers.map((router) => router.revision)).toEqual(Array.from({ length: wanted.routers ?? 1 }, () => `r${wanted.router}`));
}

/** From each wanted state to the next; between two of them nothing is left to do, and nothing is lost. */
async function goThrough(platform: SimulatedPlatform, history: readonly Wanted[]): Promise<void> {
  for (const wanted of history) {
    await settle(platform, desired(wanted));
    await expectExactly(platform, wanted);
    platform.tick(TICK_MS);
    expect(await round(platform, desired(wanted))).toBe(0);
  }
  expect(platform.lostRequests).toBe(0);
}

describe('the control loop on a simulated platform', () => {
  it('reaches any wanted state from any other, and then plans nothing', async () => {
    await fc.assert(
      fc.asyncProperty(times, fc.array(counts, { minLength: 1, maxLength: 4 }), async (speed, history) => {
        await goThrough(new SimulatedPlatform(speed), history);
      }),
      { numRuns: 150 },
    );
  });

  it('never serves with fewer instances than before or after, whichever is less, while it rolls and scales', async () => {
    await fc.assert(
      fc.asyncProperty(times, counts, counts, async (speed, before, edited) => {
        const after = { ...edited, router: before.router };
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(before));
        const total = async () => await platform.serving('decode', 'mixed');
        const least = Math.min(before.decode, after.decode);
        await settle(platform, desired(after), async () => expect(await total()).toBeGreaterThanOrEqual(least));
        expect(platform.lostRequests).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  it('adds at most one instance per pool above the wanted count when only the spec changes', async () => {
    const platform = new SimulatedPlatform({ startTicks: 2, requestTicks: 3 });
    const before: Wanted = { prefill: 2, decode: 3, version: 0, family: 0, router: 0 };
    await settle(platform, desired(before));
    await settle(platform, desired({ ...before, version: 1 }), async () => {
      const { instances } = await platform.observe();
      const alive = instances.filter((instance) => instance.drainingSinceMs === null && instance.phase !== 'stopping');
      expect(alive.filter((instance) => instance.role === 'decode').length).toBeLessThanOrEqual(4);
      expect(alive.filter((instance) => instance.role === 'prefill').length).toBeLessThanOrEqual(3);
    });
  });

  it('comes back after crashes at any time, also in the middle of a roll and of the router', async () => {
    const crashes = fc.array(fc.record({ tick: fc.integer({ min: 0, max: 30 }), pick: fc.nat(10), router: fc.boolean() }), {
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(times, counts, counts, crashes, async (speed, before, after, faults) => {
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(before));
        let tick = 0;
        await settle(platform, desired(after), async () => {
          for (const fault of faults) {
            if (fault.tick !== tick) continue;
            if (fault.router) platform.crashRouter();
            else platform.crash(fault.pick);
          }
          tick += 1;
        });
        await expectExactly(platform, after);
      }),
      { numRuns: 150 },
    );
  });

  it('turns back in the middle of a roll', async () => {
    await fc.assert(
      fc.asyncProperty(times, fc.integer({ min: 1, max: 20 }), counts, counts, async (speed, ticks, first, second) => {
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(first));
        for (let tick = 0; tick < ticks; tick++) {
          await round(platform, desired(second));
          platform.tick(TICK_MS);
        }
        await settle(platform, desired(first));
        await expectExactly(platform, first);
        expect(platform.lostRequests).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});

describe('several routers behind one address, as pods', () => {
  const podTimes = fc.tuple(times, fc.integer({ min: 0, max: 3 })).map(([speed, lagTicks]) => ({ ...speed, pods: true, lagTicks }));

  it('reach any wanted state from any other, lose nothing, and then plan nothing', async () => {
    await fc.assert(
      fc.asyncProperty(podTimes, fc.array(pods, { minLength: 1, maxLength: 4 }), async (speed, history) => {
        await goThrough(new SimulatedPlatform(speed), history);
      }),
      { numRuns: 200 },
    );
  });

  it('never are fewer than before or after, whichever is less, and each can use as many instances', async () => {
    await fc.assert(
      fc.asyncProperty(podTimes, pods, pods, async (speed, before, after) => {
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(before));
        const least = { routers: Math.min(before.routers, after.routers), decode: Math.min(before.decode, after.decode) };
        await settle(platform, desired(after), async () => {
          expect(await platform.servingRouters()).toBeGreaterThanOrEqual(least.routers);
          // A changed family has a decode pool next to a mixed one until it takes over; each router uses one of them.
          const usable = await platform.serving('decode', 'mixed');
          expect(usable).toBeGreaterThanOrEqual(least.decode);
        });
        expect(platform.lostRequests).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('adds at most one router above the wanted count when only its spec changes', async () => {
    const platform = new SimulatedPlatform({ startTicks: 2, requestTicks: 3, pods: true });
    const before: Wanted = { prefill: 1, decode: 1, version: 0, family: 0, router: 0, routers: 3 };
    await settle(platform, desired(before));
    await settle(platform, desired({ ...before, router: 1 }), async () => {
      const { routers } = await platform.observe();
      expect(routers.filter(({ phase }) => phase !== 'stopping').length).toBeLessThanOrEqual(4);
    });
  });

  it('come back after crashes at any time, also in the middle of a roll, and turn back in the middle of one', async () => {
    const crashes = fc.array(fc.record({ tick: fc.integer({ min: 0, max: 30 }), pick: fc.nat(10), router: fc.boolean() }), {
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(podTimes, pods, pods, crashes, fc.integer({ min: 0, max: 20 }), async (...[speed, before, after, faults, turn]) => {
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(before));
        let tick = 0;
        const fault = async () => {
          for (const { pick, router } of faults.filter((one) => one.tick === tick)) {
            if (router) platform.crashRouter(pick);
            else platform.crash(pick);
          }
          tick += 1;
        };
        for (let ticks = 0; ticks < turn; ticks++) {
          await round(platform, desired(after));
          platform.tick(TICK_MS);
          await fault();
        }
        await settle(platform, desired(before), fault);
        await expectExactly(platform, before);
      }),
      { numRuns: 200 },
    );
  });
});

describe('a paused roll', () => {
  const podTimes = times.map((speed) => ({ ...speed, pods: true }));
  /** Of what two states may differ in, all that makes a revision. */
  const pairs = fc.tuple(pods, fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 1 }));
  /** Longer than anything takes that has begun. */
  const QUIET_TICKS = 40;

  /** Ticks until nothing is planned for a while: what was begun has ended. */
  async function comeToRest(platform: SimulatedPlatform, want: Desired, onTick: () => Promise<void>): Promise<void> {
    let quiet = 0;
    for (let ticks = 0; ticks < MAX_TICKS && quiet < QUIET_TICKS; ticks++) {
      quiet = (await round(platform, want)) === 0 ? quiet + 1 : 0;
      platform.tick(TICK_MS);
      await onTick();
    }
    expect(quiet, JSON.stringify(status(want, await platform.observe()))).toBe(QUIET_TICKS);
  }

  it('replaces nothing that serves, and scales and restarts all the same', async () => {
    await fc.assert(
      fc.asyncProperty(podTimes, pairs, fc.integer({ min: 1, max: 4 }), async (speed, [before, version, router], decode) => {
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(before));
        const first = await platform.observe();
        const held = { ...before, version, router, decode, paused: true };
        await settle(platform, desired(held));
        const now = await platform.observe();
        const kept = first.instances.filter((one) =>
          now.instances.some(({ name, revision }) => name === one.name && revision === one.revision),
        );
        expect(kept.length).toBe((before.prefill ?? 0) + Math.min(before.decode, decode));
        expect(now.routers.map(({ name, revision }) => [name, revision])).toEqual(
          first.routers.map(({ name, revision }) => [name, revision]),
        );
        expect(now.instances.length).toBe((before.prefill ?? 0) + decode);
        expect(platform.lostRequests).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  it('in the middle: comes to rest with as many as wanted, never with fewer, and goes on when it is resumed', async () => {
    await fc.assert(
      fc.asyncProperty(podTimes, pairs, fc.integer({ min: 0, max: 25 }), async (speed, [before, version, router], ticks) => {
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(before));
        const after = { ...before, version, router };
        const floor = async () => {
          expect(await platform.serving('decode', 'mixed')).toBeGreaterThanOrEqual(before.decode);
          expect(await platform.servingRouters()).toBeGreaterThanOrEqual(before.routers);
        };
        for (let tick = 0; tick < ticks; tick++) {
          await round(platform, desired(after));
          platform.tick(TICK_MS);
        }
        const paused = desired({ ...after, paused: true });
        await comeToRest(platform, paused, floor);
        const rest = await platform.observe();
        expect(rest.instances.length).toBe((before.prefill ?? 0) + before.decode);
        expect(rest.routers.length).toBe(before.routers);
        expect(condition(status(paused, rest), 'Reconciling')?.status).toBe(false);
        await settle(platform, desired(after), floor);
        await expectExactly(platform, after);
        expect(platform.lostRequests).toBe(0);
      }),
      { numRuns: 150 },
    );
  });

  it('comes to rest wherever it is, also while a family or the roles change, and ends when it is resumed', async () => {
    await fc.assert(
      fc.asyncProperty(podTimes, pods, pods, fc.integer({ min: 0, max: 25 }), async (speed, before, after, ticks) => {
        const platform = new SimulatedPlatform(speed);
        await settle(platform, desired(before));
        for (let tick = 0; tick < ticks; tick++) {
          await round(platform, desired(after));
          platform.tick(TICK_MS);
        }
        await comeToRest(platform, desired({ ...after, paused: true }), async () => {});
        await settle(platform, desired(after));
        await expectExactly(platform, after);
        expect(platform.lostRequests).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});
