/** The controller of many ServingDeployments: watches that name what to look at, and a queue that looks at each, one round at a time. */
import {
  CONTROLLER_REVISIONS,
  type ControllerRevision,
  DISRUPTION_BUDGETS,
  EventRecorder,
  type KubeObject,
  type KubernetesClient,
  LABELS,
  MANAGED,
  NETWORK_POLICIES,
  type NetworkPolicy,
  type PodDisruptionBudget,
  PodFleet,
  Reflector,
  type ReflectorNotice,
  type ReflectorState,
  type Resource,
  type RunOutcome,
  SERVICES,
  type Service,
  WorkQueue,
} from '../../platform/kubernetes/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { TierRounds } from '../kvtier/apply.ts';
import { PinnedRounds } from '../pinnedcontext/rounds.ts';
import { RevisionHistory } from './history.ts';
import { Latest } from './latest.ts';
import type { OperatorPeers } from './networkpolicies.ts';
import { Reconciler } from './reconciler.ts';
import { References } from './references.ts';
import {
  type DeploymentObject,
  KV_TIERS,
  namedDeployment,
  PINNED_CONTEXTS,
  type PinnedObject,
  type PoolObject,
  SERVING_DEPLOYMENTS,
  SERVING_POOLS,
  type TierObject,
} from './resources.ts';
import { keepScaler } from './scale.ts';
import { namedTier } from './tiers.ts';

export interface OperatorOptions {
  readonly client: KubernetesClient;
  /** Null = all. */
  readonly namespace: string | null;
  /** Container image of routers, and of instances that name none. */
  readonly image: string;
  readonly operatorPeers: OperatorPeers;
  /** Of this process, for events. */
  readonly identity: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether this process still leads. */
  readonly leads: () => boolean;
  /** Told of every round. */
  readonly onRound?: (round: { readonly key: string; readonly ms: number; readonly failed: boolean }) => void;
}

export interface OperatorState {
  /** Every watch has been complete once. */
  readonly synced: boolean;
  readonly watches: Readonly<Record<string, ReflectorState>>;
  readonly queue: ReturnType<WorkQueue['depth']>;
  readonly deployments: number;
  /** PinnedContexts by whether as many instances hold them as are to. */
  readonly pinned: { readonly ready: number; readonly notReady: number };
}

/** Deployments that are worked on at the same time. */
const WORKERS = 8;
/** Starts of rounds: most of them find nothing to write, and a thousand deployments that come up at the same time all want some. */
const PACE = { perSecond: 200, burst: 1_000 };
/** A round over a KVTier looks at all its users, and each of them that changes asks for one. */
const TIER_WORKERS = 2;
const TIER_PACE = { perSecond: 20, burst: 100 };
/** A round over a PinnedContext waits for its instances' answers. */
const PINNED_WORKERS = 4;
const PINNED_PACE = { perSecond: 50, burst: 100 };

export class Operator {
  readonly #options: OperatorOptions;
  readonly #deployments: Reflector<DeploymentObject>;
  readonly #tiers: Reflector<TierObject>;
  readonly #pinned: Reflector<PinnedObject>;
  readonly #pools: Reflector<PoolObject>;
  readonly #services: Reflector<Service>;
  readonly #budgets: Reflector<PodDisruptionBudget>;
  readonly #policies: Reflector<NetworkPolicy>;
  readonly #revisions: Reflector<ControllerRevision>;
  readonly #fleet: PodFleet;
  readonly #events: EventRecorder;
  readonly #users: References<DeploymentObject>;
  readonly #queue: WorkQueue;
  readonly #tierQueue: WorkQueue;
  readonly #contexts: References<PinnedObject>;
  readonly #pinnedRounds: PinnedRounds;
  readonly #pinnedQueue: WorkQueue;
  #synced = false;

  constructor(options: OperatorOptions) {
    this.#options = options;
    const { client, clock, identity, log, image, operatorPeers, namespace } = options;
    const scope = namespace === null ? {} : { namespace };
    this.#deployments = this.#reflector(SERVING_DEPLOYMENTS, null);
    this.#tiers = this.#reflector(KV_TIERS, null);
    this.#pinned = this.#reflector(PINNED_CONTEXTS, null);
    this.#pools = this.#reflector(SERVING_POOLS, MANAGED);
    this.#services = this.#reflector(SERVICES, MANAGED);
    this.#budgets = this.#reflector(DISRUPTION_BUDGETS, MANAGED);
    this.#policies = this.#reflector(NETWORK_POLICIES, MANAGED);
    this.#revisions = this.#reflector(CONTROLLER_REVISIONS, MANAGED);
    const notice = (said: ReflectorNotice) => this.#notice('pods', said);
    this.#fleet = new PodFleet({ client, scope, clock, leads: options.leads, notice });
    const reporter = { controller: 'serving.sluice.dev/operator', instance: identity };
    const onDropped = (_: unknown, why: string) => log.debug({ why }, 'an event was not told');
    this.#events = new EventRecorder({ client, reporter, clock, onDropped });
    const revisions = new Latest(this.#revisions.store, clock);
    const own = {
      pools: new Latest(this.#pools.store, clock),
      services: new Latest(this.#services.store, clock),
      budgets: new Latest(this.#budgets.store, clock),
      policies: new Latest(this.#policies.store, clock),
      revisions,
      history: new RevisionHistory(this.#revisions.store, revisions),
    };
    const deployments = this.#deployments.store;
    const tiers = this.#tiers.store;
    const known = { deployments, tiers, own, fleet: this.#fleet, events: this.#events };
    const reconciler = new Reconciler({ ...known, client, image, operatorPeers, clock, log });
    this.#queue = new WorkQueue({
      run: (key) => this.#run(reconciler, key),
      onFailure: (key, error, retryMs) => log.warn({ object: key, err: error, retryMs }, 'a round failed; it is tried again'),
      workers: WORKERS,
      pace: PACE,
      clock,
    });
    this.#users = new References(deployments, namedTier);
    const tierRounds = new TierRounds({ client, tiers, users: this.#users, clock });
    this.#tierQueue = new WorkQueue({
      run: (key) => tierRounds.round(key),
      onFailure: (key, error, retryMs) => log.warn({ object: key, err: error, retryMs }, 'a round over a KVTier failed; it is tried again'),
      workers: TIER_WORKERS,
      pace: TIER_PACE,
      clock,
    });
    const contexts = this.#pinned.store;
    this.#contexts = new References(contexts, namedDeployment);
    const seen = { contexts, deployments, fleet: this.#fleet, events: this.#events };
    this.#pinnedRounds = new PinnedRounds({ ...seen, client, clock, log, leads: options.leads });
    this.#pinnedQueue = new WorkQueue({
      run: (key) => this.#pinnedRounds.round(key),
      onFailure: (key, error, retryMs) =>
        log.warn({ object: key, err: error, retryMs }, 'a round over a PinnedContext failed; it is tried again'),
      workers: PINNED_WORKERS,
      pace: PINNED_PACE,
      clock,
    });
  }

  /** Runs until `stop`. Resolves when all is known and rounds begin. */
  async start(): Promise<void> {
    for (const reflector of this.#reflectors()) reflector.start();
    this.#fleet.start();
    const synced = await Promise.all([...this.#reflectors().map((one) => one.synced()), this.#fleet.synced()]);
    if (synced.includes(false)) return;
    this.#synced = true;
    const add = (key: string) => void this.#queue.add(key);
    this.#deployments.store.subscribe(add);
    this.#subscribeTiers(add);
    this.#subscribePinned();
    this.#subscribeOwner(this.#pools);
    this.#subscribeOwner(this.#services);
    this.#subscribeOwner(this.#budgets);
    this.#subscribeOwner(this.#policies);
    this.#fleet.subscribe(add);
    this.#options.log.info({ deployments: this.#deployments.store.size }, 'rounds begin');
  }

  /** Takes up nothing more, lets rounds that run end for `graceMs`, and closes the watches. */
  async stop(graceMs: number): Promise<void> {
    await Promise.all([this.#queue, this.#tierQueue, this.#pinnedQueue].map((queue) => queue.stop(graceMs)));
    await Promise.all([...this.#reflectors().map((one) => one.stop()), this.#fleet.stop(), this.#events.stop()]);
  }

  state(): OperatorState {
    const watches = {
      servingdeployments: this.#deployments.state(),
      kvtiers: this.#tiers.state(),
      pinnedcontexts: this.#pinned.state(),
      servingpools: this.#pools.state(),
      services: this.#services.state(),
      poddisruptionbudgets: this.#budgets.state(),
      networkpolicies: this.#policies.state(),
      controllerrevisions: this.#revisions.state(),
      pods: this.#fleet.state(),
    };
    const own = { deployments: this.#deployments.store.size, pinned: pinnedCounts(this.#pinned.store.values()) };
    return { synced: this.#synced, watches, queue: this.#queue.depth(), ...own };
  }

  async #run(reconciler: Reconciler, key: string): Promise<RunOutcome> {
    const startMs = this.#options.clock.now();
    let failed = true;
    try {
      const outcome = await reconciler.reconcile(key);
      failed = false;
      return outcome;
    } finally {
      this.#options.onRound?.({ key, ms: this.#options.clock.now() - startMs, failed });
    }
  }

  #reflectors() {
    return [this.#deployments, this.#tiers, this.#pinned, this.#pools, this.#services, this.#budgets, this.#policies, this.#revisions];
  }

  #reflector<T extends KubeObject>(resource: Resource<T>, labelSelector: string | null): Reflector<T> {
    const { client, clock, namespace } = this.#options;
    const scope = { ...(namespace === null ? {} : { namespace }), ...(labelSelector === null ? {} : { labelSelector }) };
    const notice = (said: ReflectorNotice) => this.#notice(resource.plural, said);
    return new Reflector({ client, resource, scope, clock, notice, keep: keepScaler });
  }

  /** A KVTier that changed, came or went is an edit of all its users; what they say of it is its status. */
  #subscribeTiers(add: (key: string) => void): void {
    const { store } = this.#tiers;
    const addTier = (key: string) => void this.#tierQueue.add(key);
    const seen = new Map<string, string>();
    store.subscribe((key) => {
      addTier(key);
      const metadata = store.get(key)?.metadata;
      // Its status changes with every user, and is no concern of the others.
      const now = metadata && JSON.stringify([metadata.uid, metadata.generation, metadata.deletionTimestamp]);
      if (now === seen.get(key)) return;
      if (now === undefined) seen.delete(key);
      else seen.set(key, now);
      for (const user of this.#users.keysOf(key)) add(user);
    });
    this.#users.onChange(addTier);
  }

  /** What its deployment does, and what becomes of its pods, is at once the concern of a PinnedContext. */
  #subscribePinned(): void {
    const add = (key: string) => void this.#pinnedQueue.add(key);
    const addAll = (deployment: string) => {
      this.#pinnedRounds.changed(deployment);
      this.#contexts.keysOf(deployment).forEach(add);
    };
    this.#pinned.store.subscribe(add);
    this.#deployments.store.subscribe(addAll);
    this.#fleet.subscribe(addAll);
  }

  /** An object of ours that changed or went is looked at by the deployment that it is labelled with. */
  #subscribeOwner<T extends KubeObject>({ store }: Reflector<T>): void {
    const owners = new Map<string, string>();
    store.subscribe((key) => {
      const object = store.get(key);
      const name = object?.metadata.labels?.[LABELS.deployment] ?? owners.get(key);
      if (name === undefined) return;
      if (object === undefined) owners.delete(key);
      else owners.set(key, name);
      this.#queue.add(`${key.slice(0, key.indexOf('/'))}/${name}`);
    });
  }

  #notice(resource: string, notice: ReflectorNotice): void {
    const { log } = this.#options;
    if (notice.kind === 'broken') log.warn({ resource, ...notice }, 'a watch broke; it is taken up again');
    else log.debug({ resource, ...notice }, 'watch');
  }
}

function pinnedCounts(contexts: Iterable<PinnedObject>) {
  const counts = { ready: 0, notReady: 0 };
  for (const { status } of contexts) {
    const isReady = status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;
    counts[isReady ? 'ready' : 'notReady'] += 1;
  }
  return counts;
}
