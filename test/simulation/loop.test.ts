import { expect, it } from 'vitest';
import { startLoop } from '../../src/controller/index.ts';
import { instanceSpec } from '../../src/platform/spec.fixture.ts';
import { FakeClock } from '../../src/shared/index.ts';
import { SimulatedPlatform } from './simulated-platform.ts';

const WANTED = {
  name: 'd',
  model: 'm',
  family: 'f',
  paused: false,
  drainTimeoutMs: 1_000_000,
  pools: { mixed: { replicas: 1, spec: instanceSpec({ role: 'mixed' }), revision: 'v' } },
  router: {
    replicas: 1,
    address: 'own' as const,
    spec: { host: 'h', port: 0, image: null, modelName: 'm', config: '', graceMs: 1 },
    revision: 'r',
  },
};

const STEP_MS = 10;

it('looks less often the longer it waits, and at once when it is woken', async () => {
  const clock = new FakeClock();
  let rounds = 0;
  const loop = startLoop(WANTED, {
    // Its instance never becomes ready.
    platform: new SimulatedPlatform({ startTicks: 1_000, requestTicks: 1 }),
    clock,
    activeMs: 50,
    settledMs: 1_000,
    onRound: () => {
      rounds += 1;
    },
  });
  const roundsIn = async (ms: number) => {
    const before = rounds;
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      clock.advance(STEP_MS);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return rounds - before;
  };
  expect(await roundsIn(1_000)).toBeGreaterThanOrEqual(15);
  await roundsIn(19_000);
  expect(await roundsIn(10_000)).toBeLessThanOrEqual(11);
  loop.wake();
  expect(await roundsIn(20)).toBe(1);
  expect(await roundsIn(1_000)).toBeGreaterThanOrEqual(15);
  const stopped = loop.stop();
  clock.advance(1_000);
  await stopped;
});
