import { describe, expect, it } from 'vitest';
import type { KubeObject, StoreView } from '../../platform/kubernetes/index.ts';
import { FakeClock } from '../../shared/index.ts';
import { Latest } from './latest.ts';

const object = (version: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Thing',
  metadata: { name: 'a', uid: 'u', resourceVersion: version },
});

function bed() {
  const shown = new Map<string, KubeObject>();
  const store: StoreView<KubeObject> = {
    get size() {
      return shown.size;
    },
    get: (key) => shown.get(key),
    values: () => shown.values(),
    keys: () => shown.keys(),
    subscribe: () => () => {},
  };
  const clock = new FakeClock();
  return { shown, clock, latest: new Latest(store, clock), version: (of: Latest<KubeObject>) => of.get('a')?.metadata.resourceVersion };
}

describe('Latest', () => {
  it('knows our writes until the watch shows them, or shows something newer', () => {
    const { shown, latest, version } = bed();
    latest.put('a', object('1'));
    expect(version(latest)).toBe('1');
    latest.put('a', object('2'));
    shown.set('a', object('1'));
    expect(version(latest)).toBe('2');
    shown.set('a', object('3'));
    expect(version(latest)).toBe('3');
    shown.set('a', object('1'));
    expect(version(latest)).toBe('1');
  });

  it('does not believe for ever in what the watch never shows', () => {
    const { clock, latest, version } = bed();
    latest.put('a', object('1'));
    clock.advance(10_000);
    expect(version(latest)).toBeUndefined();
  });
});
