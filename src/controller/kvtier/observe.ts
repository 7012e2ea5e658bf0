/**
 * Which ServingDeployments name which KVTier, found without a walk over all of them. A KVTier runs nothing itself: what it asks for is planned
 * and done for each of its users, as an edit of their own `kv` is, by `src/controller/servingdeployment`.
 */
import type { StoreView } from '../../platform/kubernetes/index.ts';
import type { DeploymentObject } from '../operator/resources.ts';
import { namedTier } from '../operator/tiers.ts';

/** Keys are `namespace/name`. */
export class TierUsers {
  readonly #deployments: StoreView<DeploymentObject>;
  readonly #users = new Map<string, Set<string>>();
  readonly #tiers = new Map<string, string>();
  readonly #listeners = new Set<(tier: string) => void>();

  constructor(deployments: StoreView<DeploymentObject>) {
    this.#deployments = deployments;
    deployments.subscribe((key) => this.#look(key));
  }

  keysOf(tier: string): string[] {
    return [...(this.#users.get(tier) ?? [])];
  }

  of(tier: string): DeploymentObject[] {
    return this.keysOf(tier).flatMap((key) => this.#deployments.get(key) ?? []);
  }

  /** Calls back with the key of a tier when one of its users changed, came or went, and with those that have users now. */
  onChange(listener: (tier: string) => void): void {
    this.#listeners.add(listener);
    for (const tier of this.#users.keys()) listener(tier);
  }

  #look(key: string): void {
    const object = this.#deployments.get(key);
    const name = object === undefined ? null : namedTier(object.spec);
    const now = name === null ? undefined : `${key.slice(0, key.indexOf('/'))}/${name}`;
    const before = this.#tiers.get(key);
    if (before !== undefined && before !== now) this.#leave(key, before);
    if (now !== undefined) {
      this.#tiers.set(key, now);
      this.#users.set(now, (this.#users.get(now) ?? new Set()).add(key));
      this.#tell(now);
    }
  }

  #leave(key: string, tier: string): void {
    this.#tiers.delete(key);
    const users = this.#users.get(tier);
    users?.delete(key);
    if (users?.size === 0) this.#users.delete(tier);
    this.#tell(tier);
  }

  #tell(tier: string): void {
    for (const listener of this.#listeners) listener(tier);
  }
}
