import { describe, expect, it } from 'vitest';
import type { InstancePin, PinningInstance } from '../../platform/index.ts';
import { candidates, type PinStep, planPins } from './plan.ts';

const NAME = { id: 'default/a', digest: 'now' };
const MIB = 2 ** 20;

function pin(state: InstancePin['state'], change: Partial<InstancePin> = {}): InstancePin {
  const trouble = state === 'Failed' ? { reason: 'Refused', message: 'no room' } : null;
  return { ...NAME, tier: 'host', state, tokens: 100, blocks: 6, bytes: MIB, leftMs: 110_000, trouble, ...change };
}

function instance(name: string, pins: readonly InstancePin[] = [], change: Partial<PinningInstance> = {}): PinningInstance {
  const memory = { capacityBytes: 16 * MIB, pinnableBytes: 8 * MIB, pinnedBytes: pins.length * MIB, storeBytes: null, pins };
  return { name, role: 'prefill', usable: true, memory, why: '', ...change };
}

const verbs = (steps: readonly PinStep[]) => steps.map(({ verb, instance: name }) => `${verb} ${name}`);

describe('planPins', () => {
  it('begins where there is most room, on as many as are wanted', () => {
    const full = instance('p-0', [pin('Held', { id: 'other' }), pin('Held', { id: 'third' })]);
    expect(verbs(planPins(NAME, 2, [full, instance('p-1', [pin('Held', { id: 'other' })]), instance('p-2')]))).toEqual([
      'pin p-2',
      'pin p-1',
    ]);
  });

  it('goes on with those that have it or compute it, and begins no other for them', () => {
    const steps = planPins(NAME, 2, [instance('p-0'), instance('p-1', [pin('Computing')]), instance('p-2', [pin('Held')])]);
    expect(verbs(steps)).toEqual(['renew p-2', 'renew p-1']);
  });

  it('takes where prompts are computed: prefill instances, or all where there are none', () => {
    const decode = instance('d-0', [], { role: 'decode' });
    expect(verbs(planPins(NAME, 2, [decode, instance('p-0')]))).toEqual(['pin p-0']);
    expect(verbs(planPins(NAME, 1, [instance('m-0', [], { role: 'mixed' })]))).toEqual(['pin m-0']);
  });

  it('leaves out those that take no requests, and those that do not say', () => {
    const leaving = instance('p-0', [pin('Held')], { usable: false });
    const silent = instance('p-1', [], { memory: null, why: 'ECONNREFUSED' });
    expect(candidates(NAME, [leaving, silent, instance('p-2')]).map(({ name }) => name)).toEqual(['p-2']);
    expect(verbs(planPins(NAME, 1, [leaving, silent, instance('p-2')]))).toEqual(['pin p-2']);
  });

  it('takes another content for another context', () => {
    expect(verbs(planPins(NAME, 1, [instance('p-0', [pin('Held', { digest: 'before' })])]))).toEqual(['pin p-0']);
  });

  it('lets go of what is too many, but not before the others have it', () => {
    const [held, more] = [instance('p-0', [pin('Held')]), instance('p-1', [pin('Held')])];
    expect(verbs(planPins(NAME, 1, [held, more]))).toEqual(['renew p-0', 'unpin p-1']);
    const leaving = instance('p-1', [pin('Held')], { usable: false });
    expect(verbs(planPins(NAME, 1, [instance('p-0', [pin('Computing')]), leaving]))).toEqual(['renew p-0']);
    expect(verbs(planPins(NAME, 1, [held, leaving]))).toEqual(['renew p-0', 'unpin p-1']);
  });

  it('tries again where it failed, after a while and elsewhere first', () => {
    const failed = (leftMs: number) => instance('p-0', [pin('Failed', { leftMs })]);
    expect(verbs(planPins(NAME, 1, [failed(119_000), instance('p-1')]))).toEqual(['pin p-1']);
    expect(verbs(planPins(NAME, 1, [failed(119_000)]))).toEqual([]);
    expect(planPins(NAME, 1, [failed(100_000)])).toEqual([{ verb: 'pin', instance: 'p-0', reason: 'it could not hold it: no room' }]);
  });
});
