import { describe, expect, it } from 'vitest';
import type { Draft, KubeObject } from '../../platform/kubernetes/index.ts';
import { isApplied, isEqual, stamped } from './change.ts';

interface Thing extends KubeObject {
  readonly spec: Readonly<Record<string, unknown>>;
}

function draft(spec: Thing['spec']): Draft<Thing> {
  return stamped<Thing>({ metadata: { name: 'a', labels: { ours: 'yes' } }, spec });
}

function stored(from: Draft<Thing>, spec: Thing['spec']): Thing {
  const labels = { ...from.metadata.labels, theirs: 'too' };
  return { apiVersion: 'v1', kind: 'Thing', metadata: { ...from.metadata, labels, uid: 'u', resourceVersion: '1' }, spec };
}

describe('isApplied', () => {
  const now = draft({ ports: [{ port: 80 }], size: 1 });

  it('does not mind what others and defaults add', () => {
    expect(isApplied(now, stored(now, { ports: [{ port: 80, nodePort: 30_001 }], size: 1, ip: '10.0.0.1' }))).toBe(true);
  });

  it('sees what others changed or took away', () => {
    expect(isApplied(now, stored(now, { ports: [{ port: 81 }], size: 1 }))).toBe(false);
    expect(isApplied(now, stored(now, { ports: [{ port: 80 }, { port: 81 }], size: 1 }))).toBe(false);
    expect(isApplied(now, stored(now, { ports: [{ port: 80 }] }))).toBe(false);
  });

  it('sees a field that is left out from now on', () => {
    const before = draft({ ports: [{ port: 80 }], size: 1, old: true });
    expect(isApplied(now, stored(before, before.spec))).toBe(false);
  });
});

it('isEqual does not mind order, and takes undefined for absent', () => {
  expect(isEqual({ a: 1, b: [{ c: 2, d: undefined }] }, { b: [{ c: 2 }], a: 1 })).toBe(true);
  expect(isEqual({ a: [1, 2] }, { a: [2, 1] })).toBe(false);
  expect(isEqual({ a: 1 }, undefined)).toBe(false);
});
