/** What a watch knows: the newest state of every object by key, and who wants to hear when one changes. */
import { type KubeObject, objectKey } from '../object.ts';

/** Told a key, not an object: whoever hears it reads the newest state, so that nothing is lost when changes come together. */
export type ChangeListener = (key: string) => void;

/** More objects than a store may hold. */
export class StoreOverflow extends Error {
  constructor(maxObjects: number) {
    super(`more than ${maxObjects} objects: narrow the watch by a namespace or a label selector, or allow more`);
    this.name = 'StoreOverflow';
  }
}

/** The reading side. */
export interface StoreView<T extends KubeObject> {
  readonly size: number;
  get(key: string): T | undefined;
  values(): IterableIterator<T>;
  keys(): IterableIterator<string>;
  /** Calls back for every key that changes from now on, and for those that are there now. Returns the way to stop. */
  subscribe(listener: ChangeListener): () => void;
}

export class ObjectStore<T extends KubeObject> implements StoreView<T> {
  readonly #objects = new Map<string, T>();
  readonly #listeners = new Set<ChangeListener>();
  readonly #maxObjects: number;

  constructor(maxObjects: number) {
    this.#maxObjects = maxObjects;
  }

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

  subscribe(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    for (const key of this.#objects.keys()) listener(key);
    return () => this.#listeners.delete(listener);
  }

  /** Throws StoreOverflow, with nothing changed, when there is no room for one more. */
  put(object: T): void {
    const key = objectKey(object.metadata);
    const known = this.#objects.get(key);
    if (known !== undefined && isSame(known, object)) return;
    if (known === undefined && this.#objects.size >= this.#maxObjects) throw new StoreOverflow(this.#maxObjects);
    this.#objects.set(key, object);
    this.#tell(key);
  }

  remove(object: T): void {
    const key = objectKey(object.metadata);
    if (this.#objects.delete(key)) this.#tell(key);
  }

  /** Makes `objects` all there is; only what differs is told. Throws StoreOverflow, with nothing changed. */
  replace(objects: readonly T[]): void {
    if (objects.length > this.#maxObjects) throw new StoreOverflow(this.#maxObjects);
    const keep = new Set(objects.map((object) => objectKey(object.metadata)));
    for (const key of this.#objects.keys()) {
      if (keep.has(key)) continue;
      this.#objects.delete(key);
      this.#tell(key);
    }
    for (const object of objects) this.put(object);
  }

  #tell(key: string): void {
    for (const listener of this.#listeners) listener(key);
  }
}

function isSame(a: KubeObject, b: KubeObject): boolean {
  return a.metadata.uid === b.metadata.uid && a.metadata.resourceVersion === b.metadata.resourceVersion;
}
