/** A roll of 20 prefill and 20 decode instances, each a process, while streams run. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { LABELS, type Pod } from '../../../src/platform/kubernetes/index.ts';
import { isSettled, until } from '../bed.ts';
import { isStaying, isUsable } from '../chaosbed.ts';
import { OperatorBed } from '../operatorbed.ts';

const EACH = 20;
const ROUTERS = 2;
const CLIENTS = 4;
const TOKENS = 100;
/** 40 processes start one after the other on what may be two cores. */
const WITHIN_MS = 600_000;

function spec(maxSequences: number) {
  return {
    model: { name: 'simulated' },
    engine: { type: 'sim', maxSequences, sim: { costs: { prefillFixed: 5, stepFixed: 10 } } },
    prefill: { replicas: EACH },
    decode: { replicas: EACH },
    router: { replicas: ROUTERS },
  };
}

describe('the operator with 40 instances', { timeout: 2 * WITHIN_MS }, () => {
  let bed: OperatorBed;
  beforeAll(async () => {
    bed = await OperatorBed.open(inject('kubeconfig'), 'large');
    await bed.operate();
  }, 120_000);
  afterAll(() => bed.close());

  const serving = (pods: readonly Pod[], role: string) =>
    pods.filter((pod) => pod.metadata.labels?.[LABELS.role] === role && isStaying(pod) && isUsable(pod)).length;

  it('rolls them all without losing a stream, and with no fewer of a role than were asked for', async () => {
    await bed.put('large', spec(16));
    await bed.settled('large', WITHIN_MS);
    const before = await bed.pods('large');
    expect(before).toHaveLength(2 * EACH + ROUTERS);

    let over = false;
    let streams = 0;
    const client = async () => {
      for (; !over; streams += 1) expect(await bed.stream('large', TOKENS)).toBe(TOKENS);
    };
    const clients = Promise.all(Array.from({ length: CLIENTS }, client));
    const least = { prefill: EACH, decode: EACH };
    const roll = async () => {
      await bed.put('large', spec(17));
      try {
        await until(
          async () => {
            const pods = await bed.pods('large');
            for (const role of ['prefill', 'decode'] as const) least[role] = Math.min(least[role], serving(pods, role));
            return isSettled(await bed.deployment('large'));
          },
          () => bed.log(),
          WITHIN_MS,
        );
      } finally {
        over = true;
      }
    };
    const startMs = performance.now();
    await Promise.all([clients, roll()]);

    const uids = new Set(before.map(({ metadata }) => metadata.uid));
    const after = await bed.pods('large');
    expect(after.filter(({ metadata }) => metadata.labels?.[LABELS.role] !== undefined && uids.has(metadata.uid))).toEqual([]);
    expect(least).toEqual({ prefill: EACH, decode: EACH });
    expect(streams).toBeGreaterThan(EACH);
    console.log(
      `${2 * EACH} instances rolled in ${Math.round((performance.now() - startMs) / 1_000)} s, ${streams} streams of ${TOKENS} tokens, none lost`,
    );
  });
});
