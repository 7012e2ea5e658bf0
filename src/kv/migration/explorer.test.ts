/** Every order of events, message losses and crashes, over the real rules; and that rules with a fault are found out. */
import { describe, expect, it } from 'vitest';
import { type HolderCommand, type Holding, learn, obey } from './holder.ts';
import { type Migration, transition } from './machine.ts';
import { crash, faultsOf, firstWorld, losses, REAL, type Rules, steps, VICTIMS, type World, type WorldOptions } from './world.fixture.ts';

/** Everything that a session can come to, numbered; what can happen to it is worked out once. */
class Possibilities {
  readonly #options: WorldOptions;
  readonly #rules: Rules;
  readonly #numbers = new Map<string, number>();
  readonly #worlds: World[] = [];
  readonly #next: { steps: number[]; losses: number[]; crashes: number[]; faults: string[] }[] = [];

  constructor(options: WorldOptions, rules: Rules) {
    this.#options = options;
    this.#rules = rules;
  }

  first(): number {
    return this.#number(firstWorld(this.#options, this.#rules));
  }

  /** `crashes` by the index of the victim. */
  of(number: number): { steps: number[]; losses: number[]; crashes: number[]; faults: string[] } {
    const known = this.#next[number];
    if (known) return known;
    const world = this.#worlds[number] as World;
    // What changes nothing has not happened.
    const after = steps(world, this.#options, this.#rules)
      .map((one) => this.#number(one))
      .filter((one) => one !== number);
    const next = {
      steps: [...new Set(after)],
      losses: losses(world).map((one) => this.#number(one)),
      crashes: VICTIMS.map((victim) => this.#number(crash(world, victim, this.#rules))),
      faults: faultsOf(world, after.length === 0),
    };
    this.#next[number] = next;
    return next;
  }

  #number(world: World): number {
    const key = JSON.stringify(world);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.#worlds.length);
    return this.#worlds.push(world) - 1;
  }
}

interface Exploration {
  readonly worlds: number;
  readonly faults: ReadonlySet<string>;
}

interface Budget {
  readonly losses: number;
  readonly crashes: number;
}

const MAX_WORLDS = 15_000_000;

/** Two sessions side by side that share the losses and crashes; a crash hits both. */
function explore(options: readonly [WorldOptions, WorldOptions], { losses: lossBudget, crashes }: Budget, rules: Rules): Exploration {
  const [one, other] = options.map((each) => new Possibilities(each, rules)) as [Possibilities, Possibilities];
  const seen = new Set<number>();
  const open: number[] = [];
  const faults = new Set<string>();
  const visit = (a: number, b: number, left: Budget) => {
    const key = ((a * 65_536 + b) * 2 + left.losses) * 2 + left.crashes;
    if (seen.has(key)) return;
    if (seen.size >= MAX_WORLDS) throw new Error(`more than ${MAX_WORLDS} worlds`);
    seen.add(key);
    open.push(key);
  };
  visit(one.first(), other.first(), { losses: lossBudget, crashes });
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    const left = { crashes: key % 2, losses: Math.floor(key / 2) % 2 };
    const pair = Math.floor(key / 4);
    const [a, b] = [Math.floor(pair / 65_536), pair % 65_536];
    const [next, beside] = [one.of(a), other.of(b)];
    for (const fault of [...next.faults, ...beside.faults]) faults.add(fault);
    for (const step of next.steps) visit(step, b, left);
    for (const step of beside.steps) visit(a, step, left);
    if (left.losses > 0) for (const loss of next.losses) visit(loss, b, { ...left, losses: 0 });
    if (left.losses > 0) for (const loss of beside.losses) visit(a, loss, { ...left, losses: 0 });
    if (left.crashes > 0)
      for (const victim of VICTIMS.keys()) visit(next.crashes[victim] as number, beside.crashes[victim] as number, { ...left, crashes: 0 });
  }
  return { worlds: seen.size, faults };
}

const BUDGET: Budget = { losses: 1, crashes: 1 };
const FROM_A: WorldOptions = { from: 'A', wildClocks: false };
const FROM_B: WorldOptions = { from: 'B', wildClocks: false };

describe('the rules of a move, for two sessions on two instances with one crash and one loss', () => {
  it.each([
    ['the same way', [FROM_A, FROM_A]],
    ['past each other', [FROM_A, FROM_B]],
  ] as const)('hold when they move %s', { timeout: 120_000 }, (_, both) => {
    const { worlds, faults } = explore([both[0], both[1]], BUDGET, REAL);
    expect([...faults]).toEqual([]);
    expect(worlds).toBeGreaterThan(10_000);
  });

  it('never make two owners even when leases run out at the wrong time', { timeout: 120_000 }, () => {
    const wild = { ...FROM_A, wildClocks: true };
    const { faults } = explore([wild, { ...wild, from: 'B' }], BUDGET, REAL);
    expect(faults).not.toContain('two owners decode');
    expect([...faults].filter((fault) => fault.startsWith('a lease'))).toEqual([]);
  });
});

const FAULTS: Readonly<Record<string, { readonly rules: Partial<Rules>; readonly fault: string }>> = {
  'the target is told to go on before the source has stopped': {
    rules: {
      transition: (migration, message) => {
        const taken = transition(migration, message);
        const hasty = taken.commands.includes('stop');
        return hasty ? { ...taken, next: { ...taken.next, step: 'switching' }, commands: ['stop', 'commit'] } : taken;
      },
    },
    fault: 'two owners decode',
  },
  'the source gives its copy away before the target has spoken': {
    rules: {
      transition: (migration, message) => {
        const taken = transition(migration, message);
        return taken.commands.includes('commit') ? { ...taken, commands: ['commit', 'releaseSource'] } : taken;
      },
    },
    fault: 'nobody holds the session',
  },
  'a move that fails after the stop resumes nothing': {
    rules: {
      transition: (migration, message) => {
        const taken = transition(migration, message);
        return { ...taken, commands: taken.commands.filter((command) => command !== 'resume') };
      },
    },
    fault: 'nobody decodes the stream',
  },
  'a place that is held has no lease': {
    rules: { learn: (holding, news) => (news.type === 'expired' && holding.kind === 'held' ? holding : learn(holding, news)) },
    fault: 'a lease never ends: held',
  },
  'an instance stops for an owner that was fenced': {
    rules: {
      obey: (holding: Holding, command: HolderCommand) =>
        command.type === 'stop' && holding.kind === 'decoding'
          ? { type: 'do', next: { ...holding, stopping: true } }
          : obey(holding, command),
    },
    fault: 'nobody decodes the stream',
  },
  'nothing is late': {
    rules: {
      transition: (migration: Migration, message) =>
        message.type === 'failed' && message.reason === 'silent'
          ? { next: migration, commands: [], changed: false }
          : transition(migration, message),
    },
    fault: 'the move hangs',
  },
};

describe('a planted fault is found', () => {
  it.each(Object.entries(FAULTS))('%s', { timeout: 120_000 }, (_, { rules, fault }) => {
    expect([...explore([FROM_A, FROM_B], { losses: 1, crashes: 0 }, { ...REAL, ...rules }).faults]).toContain(fault);
  });
});
