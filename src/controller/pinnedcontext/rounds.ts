/** Rounds over PinnedContexts on Kubernetes: each finds its deployment, keeps its pins, and writes its status when that changed. */
import { type PinnedContextStatus, readPinned, readResource } from '../../api/index.ts';
import type { EventRecorder, FleetOwner, KubernetesClient, RunOutcome, StoreView } from '../../platform/kubernetes/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { Latest } from '../operator/latest.ts';
import { type DeploymentObject, ownerReference, PINNED_CONTEXTS, type PinnedObject } from '../operator/resources.ts';
import { StatusWriter } from '../operator/statuswriter.ts';
import { keepPinned, letGo, type PinPlace, pauseMs, wishOf } from './apply.ts';
import { pinHappenings } from './happenings.ts';
import { PINNING_ENGINES, type PinStep } from './plan.ts';
import { PinReads } from './reads.ts';
import { type PinSeen, pinnedStatus, tellPinned } from './status.ts';

export interface PinnedRoundsOptions {
  readonly client: KubernetesClient;
  readonly contexts: StoreView<PinnedObject>;
  readonly deployments: StoreView<DeploymentObject>;
  readonly fleet: { routerAdmins(owner: FleetOwner): string[] };
  readonly events: Pick<EventRecorder, 'record'>;
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
  readonly #reads: PinReads;

  constructor(options: PinnedRoundsOptions) {
    this.#options = options;
    this.#contexts = new Latest(options.contexts, options.clock);
    this.#statuses = new StatusWriter({ client: options.client, resource: PINNED_CONTEXTS, latest: this.#contexts });
    this.#reads = new PinReads(options.clock);
  }

  /** @param key `namespace/name` of a PinnedContext, which need not be there. */
  async round(key: string): Promise<RunOutcome> {
    const object = this.#options.contexts.get(key) === undefined ? undefined : this.#contexts.get(key);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) {
      this.#contexts.forget(key);
      await this.#letGo(key);
      return { kind: 'done' };
    }
    const { seen, done } = await this.#look(object, key);
    const told = tellPinned(seen);
    const { generation = 0 } = object.metadata;
    const now = new Date(this.#options.clock.wall()).toISOString();
    const status = pinnedStatus(told, { generation, now, before: object.status ?? null });
    await this.#statuses.write(object, status);
    for (const one of pinHappenings(object, { done, before: object.status, after: status })) this.#options.events.record(one);
    return seen.kind === 'invalid' || seen.kind === 'noDeployment' ? { kind: 'done' } : { kind: 'again', afterMs: pauseMs(told) };
  }

  /** What instances of that deployment (`namespace/name`) said may be otherwise now. */
  changed(deployment: string): void {
    this.#reads.forget(deployment);
  }

  async #look(object: PinnedObject, key: string): Promise<Looked> {
    const read = readPinned(object);
    if (!read.ok) return only({ kind: 'invalid', errors: read.errors });
    const { context } = read;
    const wish = wishOf(context);
    const place = `${context.namespace}/${context.deployment}`;
    const deployment = this.#options.deployments.get(place);
    if (deployment === undefined || deployment.metadata.deletionTimestamp !== undefined) return only({ kind: 'noDeployment', wish });
    const engine = engineOf(deployment);
    if (engine !== null && !PINNING_ENGINES.has(engine)) return only({ kind: 'foreignEngine', wish, engine });
    if (!this.#options.leads()) return only({ kind: 'noRouter', wish });
    this.#places.set(key, place);
    const { seen, done } = await keepPinned(context, this.#place(place, deployment));
    for (const { verb, instance, reason } of done)
      if (verb !== 'renew') this.#options.log.info({ object: key, deployment: place, step: verb, name: instance, reason }, 'step');
    return { seen, done };
  }

  async #letGo(key: string): Promise<void> {
    const place = this.#places.get(key);
    this.#places.delete(key);
    const deployment = place === undefined ? undefined : this.#options.deployments.get(place);
    if (place !== undefined && deployment !== undefined && this.#options.leads()) await letGo(key, this.#place(place, deployment));
  }

  #place(place: string, deployment: DeploymentObject): PinPlace {
    const { namespace = 'default', name } = deployment.metadata;
    const owner = { namespace, name, deployment: ownerReference(deployment), pools: {} };
    return { reads: this.#reads, name: place, adminUrls: this.#options.fleet.routerAdmins(owner) };
  }
}

interface Looked {
  readonly seen: PinSeen;
  readonly done: readonly PinStep[];
}

function only(seen: PinSeen): Looked {
  return { seen, done: [] };
}

/** Null = its spec is not sound, and what runs may be something else. */
function engineOf(deployment: DeploymentObject): string | null {
  const read = readResource(deployment);
  return read.ok ? read.spec.engine.type : null;
}
