/** Random histories: what a shared directory answers is what the model of plain facts answers, whoever asks and whatever their clocks say. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BlockLease, Life, SharedDirectory, Tier } from '../../src/kv/index.ts';
import { chain, LONG_MS, life, type OpenDirectory, type OpenEmpty, timeless } from './directory-contract.ts';
import { DirectoryModel } from './directory-model.ts';

/** Chains that share a start, as prompts do. */
const CHAINS = [chain(1, 10), [...chain(1, 4), ...chain(2, 6)], chain(3, 3)];
/** A life or a lease that is about to end, and how long a history waits for it. */
const SHORT_MS = 1;
const LAPSE_MS = 3;

interface Range {
  readonly chain: number;
  readonly from: number;
  readonly length: number;
}

type Step = { readonly client: 0 | 1; readonly who: Life } & (
  | { readonly do: 'join' | 'renew' | 'fence' | 'crash' }
  | { readonly do: 'publish'; readonly range: Range; readonly tier: Tier; readonly bytes: number; readonly ahead: number }
  | { readonly do: 'withdraw'; readonly range: Range; readonly tier: Tier; readonly force: boolean; readonly ahead: number }
  | { readonly do: 'lease'; readonly range: Range }
  | { readonly do: 'renew lease' | 'release' | 'lease lapses'; readonly lease: number }
);

const range = fc.record({ chain: fc.nat(CHAINS.length - 1), from: fc.constantFrom(0, 0, 1, 3), length: fc.integer({ min: 1, max: 10 }) });
const tier = fc.constantFrom<Tier>('hbm', 'hbm', 'host', 'store');
/** Mostly the next number; now and then one that was, or one too far. */
const ahead = fc.constantFrom(1, 1, 1, 1, 1, 1, 0, 2);
const who = fc.record({ instance: fc.constantFrom('a', 'b', 'c'), incarnation: fc.constantFrom('1', '1', '1', '2', '3') });
const client = fc.constantFrom<0 | 1>(0, 1);
const lease = fc.nat(5);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ client, who, do: fc.constant('join' as const) }) },
  { weight: 1, arbitrary: fc.record({ client, who, do: fc.constantFrom('renew' as const, 'fence' as const, 'crash' as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({ client, who, do: fc.constant('publish' as const), range, tier, bytes: fc.integer({ min: 1, max: 9 }), ahead }),
  },
  { weight: 3, arbitrary: fc.record({ client, who, do: fc.constant('withdraw' as const), range, tier, force: fc.boolean(), ahead }) },
  { weight: 3, arbitrary: fc.record({ client, who, do: fc.constant('lease' as const), range }) },
  {
    weight: 2,
    arbitrary: fc.record({ client, who, do: fc.constantFrom('renew lease' as const, 'release' as const, 'lease lapses' as const), lease }),
  },
);

interface World {
  readonly opened: OpenDirectory;
  readonly model: DirectoryModel;
  readonly leases: BlockLease[];
}

export function directoryHistories(name: string, open: OpenEmpty, runs: number): void {
  describe(`${name}: random histories`, { timeout: 60_000 }, () => {
    it(`answer as the model does, ${runs} of them`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
          const opened = await open();
          try {
            await follow({ opened, model: new DirectoryModel(), leases: [] }, steps);
          } finally {
            await Promise.all([opened.directory.close(), opened.other.close()]);
          }
        }),
        { numRuns: runs, seed: 20_261_126 },
      );
    });
  });
}

async function follow(world: World, steps: readonly Step[]): Promise<void> {
  const { opened, model } = world;
  // Everybody lives at first, so that histories are about more than strangers.
  for (const instance of ['a', 'b', 'c']) {
    expect(await opened.directory.join(life(instance), LONG_MS)).toBe(model.join(life(instance)));
  }
  for (const step of steps) {
    await take(world, step, step.client === 0 ? opened.directory : opened.other);
    const found = await Promise.all(CHAINS.map((keys) => opened.other.lookup(keys)));
    expect(found.map(timeless)).toEqual(CHAINS.map((keys) => byInstance(model.lookup(keys))));
  }
  const stats = (await opened.other.stats()).map(({ instance, incarnation, blocks, bytes }) => {
    return { instance, incarnation, blocks: Object.values(blocks).reduce((sum, count) => sum + count, 0), bytes };
  });
  expect(byInstance(stats)).toEqual(byInstance(model.stats()));
}

async function take({ opened, model, leases }: World, step: Step, directory: SharedDirectory): Promise<void> {
  const { who } = step;
  switch (step.do) {
    case 'join':
      expect(await directory.join(who, LONG_MS)).toBe(model.join(who));
      return;
    case 'renew':
      expect(await directory.renew(who, LONG_MS)).toBe(expectedRenewal(model, who));
      return;
    case 'fence':
      expect(await directory.fence(who)).toBe(model.fence(who));
      return;
    case 'crash':
      expect(await directory.renew(who, SHORT_MS)).toBe(expectedRenewal(model, who));
      if (model.state(who) === 'alive') model.lapse(who);
      return opened.pass(LAPSE_MS);
    case 'publish': {
      const seq = Math.max(1, model.seq(who) + step.ahead);
      const facts = keysOf(step.range).map((key) => ({ key, tier: step.tier, bytes: step.bytes }));
      const publication = { seq, tier: step.tier, keys: keysOf(step.range), blockBytes: step.bytes };
      expect(await directory.publish(who, publication)).toBe(model.publish(who, seq, facts));
      return;
    }
    case 'withdraw': {
      const seq = Math.max(1, model.seq(who) + step.ahead);
      const { tier, force } = step;
      const keys = keysOf(step.range);
      expect(await directory.withdraw(who, { seq, tier, keys, force })).toEqual(model.withdraw(who, seq, tier, { keys, force }));
      return;
    }
    case 'lease': {
      const keys = keysOf(step.range);
      const result = await directory.lease(who, keys, LONG_MS);
      const expected = model.lease(leases.length, who, keys);
      expect(result.outcome === 'leased' ? result.lease.keys.length : result.outcome).toBe(expected);
      if (result.outcome === 'leased') leases.push(result.lease);
      return;
    }
    case 'renew lease':
    case 'release':
    case 'lease lapses':
      return endLease({ opened, model, leases }, step.lease, [step.do, directory]);
  }
}

async function endLease(
  { opened, model, leases }: World,
  index: number,
  [how, directory]: readonly [string, SharedDirectory],
): Promise<void> {
  const lease = leases[index];
  if (!lease) return;
  if (how === 'release') {
    expect(await directory.release(lease)).toBe(model.endLease(index));
    return;
  }
  const renewal = model.renewLease(index);
  expect(await directory.renewLease(lease, how === 'renew lease' ? LONG_MS : SHORT_MS)).toBe(renewal);
  if (how === 'renew lease' || renewal === 'over') return;
  await opened.pass(LAPSE_MS);
  model.endLease(index);
}

function expectedRenewal(model: DirectoryModel, who: Life): string {
  const state = model.state(who);
  return state === 'alive' ? 'renewed' : state;
}

function keysOf({ chain: index, from, length }: Range): string[] {
  const keys = CHAINS[index] ?? [];
  const start = Math.min(from, keys.length - 1);
  return keys.slice(start, start + length);
}

function byInstance<T extends { readonly instance: string }>(all: readonly T[]): T[] {
  return [...all].sort((a, b) => (a.instance < b.instance ? -1 : 1));
}
