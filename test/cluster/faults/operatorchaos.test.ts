/**
 * Operators that die after every single one of their writes: the next one goes on from what it finds. At no moment is there a pod too
 * many, or fewer that can take requests than the deployment promises; in the end all is as wanted.
 */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Admin } from '../admin.ts';
import { until } from '../bed.ts';
import { type Bounds, ChaosBed, describePod } from '../chaosbed.ts';
import type { Fate, Mortal } from '../mortal.ts';
import { installCrds, SLOW_MS } from '../operatorbed.ts';

type Spec = Readonly<Record<string, unknown>>;

/** Deployments that are tried at the same time, each with operators of its own: most of the time is waiting. */
const LANES = 6;
/** Operators that may follow one another until a deployment is settled. */
const MAX_DEATHS = 200;

function sim(prefill: number, decode: number, sequences: number): Spec {
  return {
    model: { name: 'simulated' },
    engine: { type: 'sim', maxSequences: sequences },
    prefill: { replicas: prefill },
    decode: { replicas: decode },
    // Routers are replaced too.
    router: { replicas: 1, limits: { queue: 100 + sequences } },
  };
}

interface Scenario {
  readonly name: string;
  /** Null: there is nothing before. */
  readonly before: Spec | null;
  /** Where another turn has left it, `before` is as good as reached. */
  readonly goesOn: boolean;
  readonly after: Spec;
  readonly bounds: Readonly<Record<string, Bounds>>;
  readonly pods: readonly string[];
}

/** `turn`: another spec each time, so that there is something to do. */
const SCENARIOS: Readonly<Record<string, (turn: number) => Scenario>> = {
  'the first apply': (turn) => ({
    // Nobody collects here what the one before has left behind.
    name: `first-${turn}`,
    before: null,
    goesOn: false,
    after: sim(2, 2, 8),
    bounds: { prefill: { floor: 0, ceiling: 2 }, decode: { floor: 0, ceiling: 2 }, router: { floor: 0, ceiling: 1 } },
    pods: ['decode', 'decode', 'prefill', 'prefill', 'router'],
  }),
  'a roll of 2 + 2': (turn) => ({
    name: 'roll',
    before: sim(2, 2, 8),
    goesOn: true,
    after: sim(2, 2, 100 + turn),
    bounds: { prefill: { floor: 2, ceiling: 3 }, decode: { floor: 2, ceiling: 3 }, router: { floor: 1, ceiling: 2 } },
    pods: ['decode', 'decode', 'prefill', 'prefill', 'router'],
  }),
  'a scale-down from 4 to 1': () => ({
    name: 'scale',
    before: sim(1, 4, 8),
    goesOn: false,
    after: sim(1, 1, 8),
    bounds: { prefill: { floor: 1, ceiling: 1 }, decode: { floor: 1, ceiling: 4 }, router: { floor: 1, ceiling: 1 } },
    pods: ['decode', 'prefill', 'router'],
  }),
};

describe('an operator that dies', { timeout: 900_000 }, () => {
  let beds: ChaosBed[] = [];
  beforeAll(async () => {
    await installCrds(new Admin(inject('kubeconfig')));
    beds = await Promise.all(Array.from({ length: LANES }, () => ChaosBed.open(inject('kubeconfig'), 'chaos')));
  }, 120_000);
  afterAll(() => Promise.all(beds.map((bed) => bed.close())));

  async function prepare(bed: ChaosBed, { name, before, goesOn }: Scenario): Promise<void> {
    if (before === null || (goesOn && (await bed.exists(name)))) return;
    const helper = await bed.operator({ kind: 'lives' });
    await bed.put(name, before);
    await bed.settled(name, () => helper.log());
    await helper.stop();
  }

  /** @returns writes of the operator whose fate it was */
  async function live(bed: ChaosBed, scenario: Scenario, fate: Fate): Promise<readonly string[]> {
    await prepare(bed, scenario);
    bed.demand(scenario.bounds);
    await bed.put(scenario.name, scenario.after);
    const first = await bed.operator(fate);
    const settled = await bed.settled(
      scenario.name,
      () => first.log(),
      () => first.isDead,
    );
    const next = settled ? null : await bed.operator({ kind: 'lives' });
    if (next) await bed.settled(scenario.name, () => `killed after ${first.writes.join('\n')}\n${next.log()}`);
    await check(bed, scenario, [first, next]);
    await Promise.all([first.stop(), next?.stop()]);
    if (scenario.before === null) await bed.clear(scenario.name);
    return first.writes;
  }

  async function check(bed: ChaosBed, { pods }: Scenario, operators: readonly (Mortal | null)[]): Promise<void> {
    const story = () => operators.map((one) => `${one?.writes.join('\n')}\n${one?.log()}`).join('\n--\n');
    // The kubelet has a watch of its own.
    await until(() => bed.kubelet.pods().length === pods.length, story, SLOW_MS);
    const components = bed.kubelet.pods().map(({ metadata }) => String(metadata.labels?.['app.kubernetes.io/component']));
    expect(
      components.sort((a, b) => a.localeCompare(b)),
      `${bed.kubelet.pods().map(describePod).join('; ')}\n${story()}`,
    ).toEqual(pods);
    expect(bed.violations, story()).toEqual([]);
    bed.demand({});
  }

  describe.each(Object.entries(SCENARIOS))('during %s', (_, scenarioOf) => {
    afterAll(() => Promise.all(beds.map((bed) => bed.clear(scenarioOf(0).name))));

    it('after any of its writes is followed by one that ends what it began', async () => {
      const [lane] = beds;
      if (!lane) throw new Error('no bed');
      const total = (await live(lane, scenarioOf(0), { kind: 'lives' })).length;
      expect(total).toBeGreaterThan(5);
      const left = Array.from({ length: total }, (_, index) => index + 1);
      const turns = beds.map(async (bed) => {
        for (let write = left.shift(); write !== undefined; write = left.shift()) {
          await live(bed, scenarioOf(write), { kind: 'dies', write });
        }
      });
      await Promise.all(turns);
    });

    it('after every one of its writes, as do all that follow it, still gets there', async () => {
      const [, bed] = beds;
      if (!bed) throw new Error('no bed');
      const scenario = scenarioOf(120);
      await prepare(bed, scenario);
      bed.demand(scenario.bounds);
      await bed.put(scenario.name, scenario.after);
      let deaths = 0;
      let settled = false;
      const written: string[] = [];
      while (!settled && deaths < MAX_DEATHS) {
        const one = await bed.operator({ kind: 'dies', write: 1 });
        settled = await bed.settled(
          scenario.name,
          () => written.join('\n'),
          () => one.isDead,
        );
        written.push(...one.writes);
        deaths += 1;
        await one.stop();
      }
      expect(settled, written.join('\n')).toBe(true);
      await check(bed, scenario, []);
      if (scenario.before === null) await bed.clear(scenario.name);
    });

    it('not, but gets no answer to any of its writes, writes it again without harm', async () => {
      const [, , bed] = beds;
      if (!bed) throw new Error('no bed');
      await live(bed, scenarioOf(130), { kind: 'loses answers' });
    });
  });
});
