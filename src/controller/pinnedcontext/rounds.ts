/** Rounds over PinnedContexts on Kubernetes: each finds its deployment, keeps its pins, and writes its status when that changed. */
import { type PinnedContextStatus, readPinned, readResource } from '../../api/index.ts';
import type { FleetOwner, KubernetesClient, RunOutcome, StoreView } from '../../platform/kubernetes/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { Latest } from '../operator/latest.ts';
import { type DeploymentObject, ownerReference, PINNED_CONTEXTS, type PinnedObject } from '../operator/resources.ts';
import { StatusWriter } from '../operator/statuswriter.ts';
import { keepPinned, letGo, pauseMs, wishOf } from './apply.ts';
import { PINNING_ENGINES } from './plan.ts';
import { type PinSeen, pinnedStatus, tellPinned } from './status.ts';

export interface PinnedRoundsOptions {
  readonly client: KubernetesClient;
  readonly contexts: StoreView<PinnedObject>;
  readonly deployments: StoreView<DeploymentObject>;
  readonly fleet: { routerAdmins(owner: FleetOwner): string[] };
  readonly clock: Clock;
  readonly log: Pick<Logger, 'info'>;
  /** Whether this process still leads: what the API server would refuse, instances would not. */
  readonly leads: () => boolean;
}

export class PinnedRounds {
  readonly #options: PinnedRoundsOptions;
  readonly #contexts: Latest<PinnedObject>;
  readonly #statuses: StatusWriter<PinnedContextStatus>;
  /** Where each was pinned, to let go of it as soon as it is deleted: key of the deployment. */
  readonly #places = new Map<string, string>();

  constructor(options: PinnedRoundsOptions) {
    this.#options = options;
    this.#contexts = new Latest(options.contexts, options.clock);
    this.#statuses = new StatusWriter({ client: options.client, resource: PINNED_CONTEXTS, latest: this.#contexts });
  }

  /** @param key `namespace/name` of a PinnedContext, which need not be there. */
  async round(key: string): Promise<RunOutcome> {
    const object = this.#options.contexts.get(key) === undefined ? undefined : this.#contexts.get(key);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
      this.#contexts.forget(key);
      await this.#letGo(key);
      return { kind: 'done' };
    }
    const seen = await this.#look(object, key);
    const told = tellPinned(seen);
    const { generation = 0 } = object.metadata;
    const now = new Date(this.#options.clock.wall()).toISOString();
    await this.#statuses.write(object, pinnedStatus(told, { generation, now, before: object.status ?? null }));
    return seen.kind === 'invalid' || seen.kind === 'noDeployment' ? { kind: 'done' } : { kind: 'again', afterMs: pauseMs(told) };
  }

  async #look(object: PinnedObject, key: string): Promise<PinSeen> {
    const read = readPinned(object);
    if (!read.ok) return { kind: 'invalid', errors: read.errors };
    const { context } = read;
    const wish = wishOf(context);
    const place = `${context.namespace}/${context.deployment}`;
    const deployment = this.#options.deployments.get(place);
    if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return { kind: 'noDeployment', wish };
    const engine = engineOf(deployment);
    if (engine !== null && !PINNING_ENGINES.has(engine)) return { kind: 'foreignEngine', wish, engine };
    if (!this.#options.leads()) return { kind: 'noRouter', wish };
    this.#places.set(key, place);
    const { seen, done } = await keepPinned(context, this.#admins(deployment));
    for (const { verb, instance, reason } of done)
      if (verb !== 'renew') this.#options.log.info({ object: key, deployment: place, step: verb, name: instance, reason }, 'step');
    return seen;
  }

  async #letGo(key: string): Promise<void> {
    const place = this.#places.get(key);
    this.#places.delete(key);
    const deployment = place === undefined ? undefined : this.#options.deployments.get(place);
    if (deployment !== undefined && this.#options.leads()) await letGo(key, this.#admins(deployment));
  }

  #admins(deployment: DeploymentObject): string[] {
    const { namespace = 'default', name } = deployment.metadata;
    return this.#options.fleet.routerAdmins({ namespace, name, deployment: ownerReference(deployment), pools: {} });
  }
}

/** Null = its spec is not sound, and what runs may be something else. */
function engineOf(deployment: DeploymentObject): string | null {
  const read = readResource(deployment);
  return read.ok ? read.spec.engine.type : null;
}
