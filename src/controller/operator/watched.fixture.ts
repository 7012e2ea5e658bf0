/** What a watch knows, without a watch. */
import type { KubeObject, StoreView } from '../../platform/kubernetes/index.ts';

export class Watched<T extends KubeObject> implements StoreView<T> {
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<(key: string) => void>();

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  values(): IterableIterator<T> {
    return this.#objects.values();
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  subscribe(listener: (key: string) => void): () => void {
    this.#listeners.add(listener);
    for (const key of this.#objects.keys()) listener(key);
    return () => this.#listeners.delete(listener);
  }

  put(object: T): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    this.#objects.set(key, object);
    for (const listener of this.#listeners) listener(key);
  }

  remove(key: string): void {
    this.#objects.delete(key);
    for (const listener of this.#listeners) listener(key);
  }
}
