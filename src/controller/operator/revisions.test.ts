import { describe, expect, it } from 'vitest';
import { readResource } from '../../api/index.ts';
import type { ControllerRevision } from '../../platform/kubernetes/index.ts';
import type { DeploymentObject } from './resources.ts';
import { byAge, decideRevision, isOf, recordOf, specOf } from './revisions.ts';

type Change = Readonly<Record<string, unknown>>;

const OBJECT: DeploymentObject = {
  apiVersion: 'serving.sluice.dev/v1alpha1',
  kind: 'ServingDeployment',
  metadata: { name: 'chat', namespace: 'team', uid: 'u', resourceVersion: '1' },
};

function specWith(change: Change = {}) {
  const spec = { model: { name: 'm' }, engine: { type: 'sim' }, prefill: { replicas: 2 }, decode: { replicas: 3 }, ...change };
  const read = readResource({ ...OBJECT, spec });
  if (!read.ok) throw new Error(read.errors.join('; '));
  return read.spec;
}

function decide(stored: readonly ControllerRevision[], change: Change) {
  const spec = specWith(change);
  return decideRevision({ object: OBJECT, spec, record: recordOf(OBJECT, spec) }, stored);
}

/** As the API server has it after the operator recorded `change`. */
function recorded(stored: readonly ControllerRevision[], change: Change = {}): ControllerRevision[] {
  const { draft, surplus } = decide(stored, change);
  if (draft === null) return stored.filter((one) => !surplus.includes(one));
  const metadata = { ...draft.metadata, uid: draft.metadata.name, resourceVersion: '1' };
  const made: ControllerRevision = { apiVersion: 'apps/v1', kind: 'ControllerRevision', ...draft, metadata };
  return [...stored.filter((one) => one.metadata.name !== made.metadata.name && !surplus.includes(one)), made];
}

const sizes = (prefill: number, decode: number) => ({ prefill: { replicas: prefill }, decode: { replicas: decode } });
const model = (name: string) => ({ model: { name } });

describe('revisions', () => {
  it('are numbered as they come; one that comes back gets a new number', () => {
    const [a, b] = [recorded([]), recorded(recorded([]), model('n'))];
    expect(a.map(({ revision }) => revision)).toEqual([1]);
    expect(b.map(({ revision }) => revision)).toEqual([1, 2]);
    const back = recorded(b);
    expect(byAge(back).map(({ metadata, revision }) => [metadata.name === a[0]?.metadata.name, revision])).toEqual([
      [true, 3],
      [false, 2],
    ]);
    expect(recorded(back)).toEqual(back);
  });

  it('are not made by another size, nor by the switch that pauses', () => {
    const one = recorded([]);
    expect(recorded(one, sizes(1, 9)).map(({ metadata, revision }) => [metadata.name, revision])).toEqual(
      one.map(({ metadata, revision }) => [metadata.name, revision]),
    );
    expect(recorded(one, { rollout: { history: 3 } })).toHaveLength(1);
  });

  it('are kept as many as asked for, the newest ones', () => {
    let kept: ControllerRevision[] = [];
    for (const name of ['a', 'b', 'c', 'd']) kept = recorded(kept, { ...model(name), rollout: { history: 2 } });
    expect(kept.map(({ revision }) => revision)).toEqual([3, 4]);
  });

  it('are not recorded while the roll is paused, unless there is none', () => {
    const one = recorded([]);
    expect(decide(one, { ...model('n'), rollout: { paused: true } })).toEqual({ draft: null, surplus: [] });
    expect(recorded([], { rollout: { paused: true } })).toHaveLength(1);
  });

  it('give the spec back, with the sizes of now', () => {
    const [first] = recorded([]);
    if (!first) throw new Error('nothing was recorded');
    const now = specWith({ ...model('n'), ...sizes(4, 5), rollout: { paused: true } });
    expect(specOf(first, now)).toEqual(specWith({ ...sizes(4, 5), rollout: { paused: true } }));
    expect([isOf(first, specWith(sizes(1, 1))), isOf(first, now)]).toEqual([true, false]);
  });

  it('bring back a role that is not there now with the size that it had', () => {
    const [first] = recorded(recorded([]), sizes(7, 3));
    if (!first) throw new Error('nothing was recorded');
    expect(specOf(first, specWith({ prefill: undefined }))).toMatchObject({ prefill: { replicas: 7 }, decode: { replicas: 3 } });
    const strange = { ...first, metadata: { ...first.metadata, annotations: { 'serving.sluice.dev/replicas': 'x' } } };
    expect(specOf(strange, specWith({ prefill: undefined }))).toMatchObject({ prefill: { replicas: 1 } });
  });
});
