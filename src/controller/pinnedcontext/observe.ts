/** Which PinnedContexts name which ServingDeployment, found without a walk over all of them. */
import type { StoreView } from '../../platform/kubernetes/index.ts';
import type { PinnedObject } from '../operator/resources.ts';

/** Keys are `namespace/name`. */
export class ContextsOf {
  readonly #contexts: StoreView<PinnedObject>;
  readonly #byDeployment = new Map<string, Set<string>>();
  readonly #deployments = new Map<string, string>();

  constructor(contexts: StoreView<PinnedObject>) {
    this.#contexts = contexts;
    contexts.subscribe((key) => this.#look(key));
  }

  /** @param deployment key of a ServingDeployment */
  keys(deployment: string): string[] {
    return [...(this.#byDeployment.get(deployment) ?? [])];
  }

  #look(key: string): void {
    const name = namedDeployment(this.#contexts.get(key)?.spec);
    const now = name === null ? undefined : `${key.slice(0, key.indexOf('/'))}/${name}`;
    const before = this.#deployments.get(key);
    if (before === now) return;
    if (before !== undefined) {
      const others = this.#byDeployment.get(before);
      others?.delete(key);
      if (others?.size === 0) this.#byDeployment.delete(before);
    }
    if (now === undefined) {
      this.#deployments.delete(key);
      return;
    }
    this.#deployments.set(key, now);
    this.#byDeployment.set(now, (this.#byDeployment.get(now) ?? new Set()).add(key));
  }
}

/** Of a spec that need not be sound. */
function namedDeployment(spec: unknown): string | null {
  const reference = typeof spec === 'object' && spec !== null && 'deploymentRef' in spec ? spec.deploymentRef : null;
  const name = typeof reference === 'object' && reference !== null && 'name' in reference ? reference.name : null;
  return typeof name === 'string' ? name : null;
}
