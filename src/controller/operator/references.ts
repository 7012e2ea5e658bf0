/** Which objects of one kind name which object of another kind in their namespace, found without a walk over all of them. */
import type { KubeObject, StoreView } from '../../platform/kubernetes/index.ts';

/** Keys are `namespace/name`. */
export class References<T extends KubeObject> {
  readonly #objects: StoreView<T>;
  readonly #nameIn: (spec: unknown) => string | null;
  readonly #users = new Map<string, Set<string>>();
  readonly #targets = new Map<string, string>();
  readonly #listeners = new Set<(target: string) => void>();

  /** @param nameIn what a spec names, which need not be sound; null = nothing */
  constructor(objects: StoreView<T & { readonly spec?: unknown }>, nameIn: (spec: unknown) => string | null) {
    this.#objects = objects;
    this.#nameIn = nameIn;
    objects.subscribe((key) => this.#look(key, objects.get(key)?.spec));
  }

  /** Of the objects that name `target`. */
  keysOf(target: string): string[] {
    return [...(this.#users.get(target) ?? [])];
  }

  of(target: string): T[] {
    return this.keysOf(target).flatMap((key) => this.#objects.get(key) ?? []);
  }

  /** Calls back with the key of what is named when one that names it changed, came or went, and with all that are named now. */
  onChange(listener: (target: string) => void): void {
    this.#listeners.add(listener);
    for (const target of this.#users.keys()) listener(target);
  }

  #look(key: string, spec: unknown): void {
    const name = this.#nameIn(spec);
    const now = name === null ? undefined : `${key.slice(0, key.indexOf('/'))}/${name}`;
    const before = this.#targets.get(key);
    if (before !== undefined && before !== now) this.#leave(key, before);
    if (now === undefined) return;
    this.#targets.set(key, now);
    this.#users.set(now, (this.#users.get(now) ?? new Set()).add(key));
    this.#tell(now);
  }

  #leave(key: string, target: string): void {
    this.#targets.delete(key);
    const users = this.#users.get(target);
    users?.delete(key);
    if (users?.size === 0) this.#users.delete(target);
    this.#tell(target);
  }

  #tell(target: string): void {
    for (const listener of this.#listeners) listener(target);
  }
}
