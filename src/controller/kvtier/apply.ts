/** One round over one KVTier: its users, what they say, its status. Writes nothing when nothing changed. */
import { type KvTierStatus, readResource, readTier, type ServingDeployment } from '../../api/index.ts';
import type { KubernetesClient, RunOutcome, StoreView } from '../../platform/kubernetes/index.ts';
import type { Clock } from '../../shared/index.ts';
import { Latest } from '../operator/latest.ts';
import type { References } from '../operator/references.ts';
import { type DeploymentObject, KV_TIERS, type TierObject } from '../operator/resources.ts';
import { StatusWriter } from '../operator/statuswriter.ts';
import { partsOf, useOf } from './plan.ts';
import { tierStatus } from './status.ts';

export interface TierRoundsOptions {
  readonly client: KubernetesClient;
  readonly tiers: StoreView<TierObject>;
  readonly users: Pick<References<DeploymentObject>, 'of'>;
  readonly clock: Clock;
}

export class TierRounds {
  readonly #options: TierRoundsOptions;
  readonly #tiers: Latest<TierObject>;
  readonly #statuses: StatusWriter<KvTierStatus>;
  /** Of a tier with many users one changes at a time. */
  readonly #read = new WeakMap<DeploymentObject, ServingDeployment | null>();

  constructor(options: TierRoundsOptions) {
    this.#options = options;
    this.#tiers = new Latest(options.tiers, options.clock);
    this.#statuses = new StatusWriter({ client: options.client, resource: KV_TIERS, latest: this.#tiers });
  }

  /** @param key `namespace/name` of a KVTier, which need not be there. */
  async round(key: string): Promise<RunOutcome> {
    const object = this.#options.tiers.get(key) === undefined ? undefined : this.#tiers.get(key);
    if (object === undefined) this.#tiers.forget(key);
    else if (object.metadata.deletionTimestamp === undefined) await this.#report(object, key);
    return { kind: 'done' };
  }

  async #report(object: TierObject, key: string): Promise<void> {
    const { name, generation = 0 } = object.metadata;
    const read = readTier(object);
    const deployments = this.#options.users.of(key);
    const seen = {
      spec: read.ok ? read.spec : null,
      errors: read.ok ? [] : read.errors,
      users: deployments.map((one) => useOf(one, { name, generation })),
      parts: read.ok
        ? partsOf(
            deployments.flatMap((one) => this.#deployment(one) ?? []),
            read.tier,
          )
        : 0,
    };
    const now = new Date(this.#options.clock.wall()).toISOString();
    await this.#statuses.write(object, tierStatus(seen, { generation, now, before: object.status ?? null }));
  }

  /** Null = its spec is not sound. */
  #deployment(object: DeploymentObject): ServingDeployment | null {
    const known = this.#read.get(object);
    if (known !== undefined) return known;
    const read = readResource(object);
    const deployment = read.ok ? read.deployment : null;
    this.#read.set(object, deployment);
    return deployment;
  }
}
