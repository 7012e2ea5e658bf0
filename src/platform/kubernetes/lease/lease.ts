/** One Lease object as a contender reads and writes it. */
import type { CallOptions } from '../call.ts';
import type { KubernetesClient } from '../client.ts';
import type { KubeObject, Resource } from '../object.ts';
import type { LeaseSpec } from './verdict.ts';

export interface Lease extends KubeObject {
  readonly spec?: LeaseSpec;
}

export const LEASES: Resource<Lease> = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', kind: 'Lease', namespaced: true };

/** RFC 3339 with microseconds, the only form that MicroTime takes. */
export function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace('Z', '000Z');
}

export class LeaseRecord {
  readonly #client: KubernetesClient;
  readonly #reference: { readonly namespace: string; readonly name: string };

  constructor(client: KubernetesClient, reference: { readonly namespace: string; readonly name: string }) {
    this.#client = client;
    this.#reference = reference;
  }

  read(options: CallOptions): Promise<Lease | null> {
    return this.#client.get(LEASES, this.#reference, options);
  }

  /** Writes `spec` over the lease as it was read, or makes it when there was none. Null when another was faster. */
  async write(over: Lease | null, spec: LeaseSpec, options: CallOptions): Promise<Lease | null> {
    if (over === null) {
      const made = await this.#client.create(LEASES, { metadata: this.#reference, spec }, options);
      if (made.kind === 'rejected') throw new Error(`the Lease ${this.#name()} is rejected: ${made.message}`);
      return made.kind === 'written' ? made.object : null;
    }
    const { resourceVersion, uid } = over.metadata;
    const merged = await this.#client.merge(LEASES, this.#reference, { metadata: { resourceVersion, uid }, spec }, options);
    if (merged.kind === 'rejected') throw new Error(`the Lease ${this.#name()} is rejected: ${merged.message}`);
    return merged.kind === 'written' ? merged.object : null;
  }

  #name(): string {
    return `${this.#reference.namespace}/${this.#reference.name}`;
  }
}
