import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import type { Pod } from '../builtin.ts';
import { ObjectStore } from '../watch/store.ts';
import { PendingWrites } from './pending.ts';

const KEY = 'team/a';

function pod(resourceVersion: string, change: Partial<Pod['metadata']> = {}): Pod {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', namespace: 'team', uid: 'u1', resourceVersion, ...change } };
}

function bed() {
  const store = new ObjectStore<Pod>(10);
  const clock = new FakeClock();
  const pending = new PendingWrites(store, clock);
  store.subscribe((key) => pending.told(key));
  return { store, clock, pending, version: () => pending.get(KEY)?.metadata.resourceVersion };
}

describe('a write that the watch does not show yet', () => {
  it('is seen at once, over what the watch shows of before', () => {
    const { store, pending, version } = bed();
    pending.wrote(pod('5'));
    expect(version()).toBe('5');
    store.put(pod('4'));
    expect(version()).toBe('5');
    store.put(pod('6'));
    expect(version()).toBe('6');
  });

  it('is compared by number, not by text', () => {
    const { store, pending, version } = bed();
    pending.wrote(pod('10'));
    store.put(pod('9'));
    expect(version()).toBe('10');
  });

  it('gives way to another pod of that name, and to its end', () => {
    const { store, pending, version } = bed();
    pending.wrote(pod('5'));
    store.put(pod('9', { uid: 'u2' }));
    expect(version()).toBe('9');
    pending.wrote(pod('10', { uid: 'u2' }));
    store.remove(pod('11', { uid: 'u2' }));
    expect(version()).toBeUndefined();
  });

  it('shows a pod that was deleted as going, until the watch does or it is gone', () => {
    const { store, pending } = bed();
    store.put(pod('5'));
    pending.deleted(pod('5'));
    expect(pending.get(KEY)?.metadata.deletionTimestamp).toBeDefined();
    store.put(pod('6'));
    expect(pending.get(KEY)?.metadata.deletionTimestamp).toBeDefined();
    store.remove(pod('7'));
    expect(pending.get(KEY)).toBeUndefined();
  });

  it('shows one as going that the watch has never shown', () => {
    const { pending } = bed();
    pending.wrote(pod('5'));
    pending.deleted(pod('5'));
    expect(pending.get(KEY)?.metadata.deletionTimestamp).toBeDefined();
  });

  it('is not believed for ever', () => {
    const { store, clock, pending, version } = bed();
    store.put(pod('4'));
    pending.wrote(pod('5'));
    clock.advance(30_000);
    expect(version()).toBe('4');
  });
});
