/**
 * One round over one ServingDeployment on Kubernetes: its objects, then its pods, then its status. Everything is derived anew from what
 * the API server and the routers say; what is kept between rounds only saves writes.
 */
import { differences, isSettled, type ServingDeploymentStatus } from '../../api/index.ts';
import type { Observed, Platform, Role } from '../../platform/index.ts';
import type {
  EventRecorder,
  FleetOwner,
  KubernetesClient,
  OwnerReference,
  RunOutcome,
  StoreView,
} from '../../platform/kubernetes/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { Logger } from '../../telemetry/index.ts';
import { apply, type Done } from '../servingdeployment/apply.ts';
import { type Desired, ROLES } from '../servingdeployment/desired.ts';
import { plan } from '../servingdeployment/plan.ts';
import { resourceStatus, type StatusContext } from '../servingdeployment/resourcestatus.ts';
import { type Status, status } from '../servingdeployment/status.ts';
import { ofRole } from '../servingdeployment/world.ts';
import { isEqual } from './change.ts';
import { serviceUrl } from './drafts.ts';
import { happenings } from './happenings.ts';
import { Latest } from './latest.ts';
import { policyNames } from './networkpolicies.ts';
import { Objects, type OwnObjects, type SizedPool } from './objects.ts';
import { awaitedStatus, poolStatus, refusedStatus, withHeld, withProblems, withScale, withTierTrouble } from './report.ts';
import { type DeploymentObject, ownerReference, poolName, SERVING_DEPLOYMENTS, type TierObject } from './resources.ts';
import { byAge, decideRevision, specOf } from './revisions.ts';
import { overriddenText } from './scale.ts';
import { StatusWriter } from './statuswriter.ts';
import { chooseTier, namedTier, OWN, rolesOf, type Source, type TierChoice, type TierTrouble, takenUp, tierDifferences } from './tiers.ts';
import { type Surroundings, type Wanted, type WantedResult, wantedOf, withSizes } from './wanted.ts';

/** Where the pods of all deployments are. */
export interface Fleet {
  platform(owner: FleetOwner): Platform;
}

export interface ReconcilerOptions extends Surroundings {
  readonly client: KubernetesClient;
  readonly deployments: StoreView<DeploymentObject>;
  readonly tiers: Pick<StoreView<TierObject>, 'get'>;
  readonly own: OwnObjects;
  readonly fleet: Fleet;
  readonly events: Pick<EventRecorder, 'record'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Between two looks while something changes, while a step is refused, and while nothing happens. */
const ACTIVE_MS = 500;
const REFUSED_MS = 5_000;
const SETTLED_MS = 30_000;
/** Of very many deployments that need nothing, one is looked at after the other: whatever is watched is seen at once all the same. */
const SETTLED_MS_EACH = 200;

interface Seen {
  readonly pools: Sized['pools'];
  readonly observed: Observed;
  readonly status: Status;
}

interface Sized {
  readonly pools: Partial<Record<Role, SizedPool>>;
  readonly problems: readonly string[];
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #objects: Objects;
  readonly #deployments: Latest<DeploymentObject>;
  readonly #statuses: StatusWriter<ServingDeploymentStatus>;
  readonly #wanted = new WeakMap<DeploymentObject, { readonly source: Source; readonly result: WantedResult }>();
  readonly #sources = new WeakMap<TierObject, TierChoice>();
  /** Deployments whose scale was overridden at the last look, by key: what was told of it. */
  readonly #overridden = new Map<string, string>();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#objects = new Objects(options.client, options.own);
    this.#deployments = new Latest(options.deployments, options.clock);
    this.#statuses = new StatusWriter({ client: options.client, resource: SERVING_DEPLOYMENTS, latest: this.#deployments });
  }

  /** @param key `namespace/name` of a ServingDeployment, which need not be there any more. */
  async reconcile(key: string): Promise<RunOutcome> {
    const object = this.#options.deployments.get(key) === undefined ? undefined : this.#deployments.get(key);
    if (object === undefined) {
      this.#forget(key);
      return { kind: 'done' };
    }
    // What it owns goes with it; to mend anything now would be in the way.
    if (object.metadata.deletionTimestamp !== undefined) return { kind: 'done' };
    const { source, trouble } = this.#choose(object);
    if (source === null) {
      if (trouble !== null) await this.#statuses.write(object, awaitedStatus(trouble, this.#context(object)));
      return { kind: 'done' };
    }
    const written = this.#written(object, source);
    const wanted = 'errors' in written ? written : this.#held(written);
    if ('errors' in wanted) {
      await this.#statuses.write(object, refusedStatus(wanted.errors, this.#context(object)));
      return { kind: 'done' };
    }
    return this.#round(wanted, trouble);
  }

  /** Where the servers of its KV tier come from. */
  #choose(object: DeploymentObject): TierChoice {
    const name = namedTier(object.spec);
    if (name === null) return { source: OWN, trouble: null };
    const { namespace = 'default' } = object.metadata;
    const tier = this.#options.tiers.get(`${namespace}/${name}`);
    const known = tier && this.#sources.get(tier);
    if (known) return known;
    const choice = chooseTier(name, namespace, tier, this.#taken(object));
    if (tier && choice.trouble === null) this.#sources.set(tier, choice);
    return choice;
  }

  #taken(object: DeploymentObject): Source | null {
    const roles = rolesOf(object.spec);
    return takenUp(roles.flatMap((role) => this.#objects.storedPool(object, poolName(object.metadata.name, role)) ?? []));
  }

  #written(object: DeploymentObject, source: Source): WantedResult {
    const known = this.#wanted.get(object);
    if (known && (known.source === source || isEqual(known.source, source))) return known.result;
    const result = wantedOf(object, this.#options, source);
    this.#wanted.set(object, { source, result });
    return result;
  }

  /** While a roll is paused: what was wanted before, with the sizes of now. */
  #held(written: Wanted): WantedResult {
    if (!written.spec.rollout.paused) return written;
    const [newest] = byAge(this.#objects.revisions(written.object));
    if (newest === undefined) return written;
    const spec = specOf(newest, written.spec);
    const source = namedTier(spec) === null ? OWN : (this.#taken(written.object) ?? written.source);
    const fields = differences(spec, written.given, ['spec']).map(({ path }) => path);
    const waiting = [...fields, ...tierDifferences(source, written.source)];
    if (waiting.length === 0) return written;
    const held = wantedOf({ ...written.object, spec }, this.#options, source);
    return 'errors' in held ? held : { ...held, object: written.object, waiting };
  }

  async #round(wanted: Wanted, trouble: TierTrouble | null): Promise<RunOutcome> {
    const { clock, fleet, log } = this.#options;
    const { object, spec, source } = wanted;
    const { pools, problems } = await this.#ensure(wanted);
    const desired = withSizes(wanted.desired, sizes(pools));
    const platform = fleet.platform(this.#owner(object, pools));
    const observed = await platform.observe();
    // What serves is looked after whatever is in the way of the rest.
    const done = await apply(platform, plan(desired, observed, clock.now()));
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    for (const { step, outcome } of done) {
      const fields = {
        object: key,
        step: step.type,
        name: step.type === 'publishInstances' ? step.router : step.name,
        reason: step.reason,
      };
      if (outcome.ok) log.info(fields, 'step');
      else log.warn({ ...fields, why: outcome.message }, 'a step was refused');
    }
    for (const happening of happenings(object, done)) this.#options.events.record(happening);
    const scale = this.#scaleTexts(wanted, pools);
    this.#tellScale(object, key, scale);
    const told = withHeld(withScale(status(desired, observed, done), scale), wanted.waiting);
    const now = withProblems(withTierTrouble(told, trouble), problems);
    await this.#tendPools(object, desired, { pools, observed, status: now });
    // Last: who waits for the deployment finds everything else as its status says.
    const tier = source.kind === 'tier' && trouble === null ? { name: source.tier.name, generation: source.generation } : null;
    await this.#statuses.write(object, resourceStatus({ ...now, url: serviceUrl(object, spec) }, this.#context(object), tier));
    return { kind: 'again', afterMs: this.#pause(now, done, problems) };
  }

  async #tendPools(object: DeploymentObject, desired: Desired, { pools, observed, status: now }: Seen): Promise<void> {
    const { name } = object.metadata;
    for (const role of ROLES) {
      const pool = pools[role]?.pool ?? this.#objects.storedPool(object, poolName(name, role));
      if (!pool) continue;
      if (!desired.pools[role] && ofRole(observed, role).length === 0) {
        await this.#objects.removePool(object, pool.metadata.name);
        continue;
      }
      const next = poolStatus({ name, role, generation: pool.metadata.generation ?? 0 }, observed, now);
      if (!isEqual(next, pool.status)) await this.#objects.writePoolStatus(pool, next);
    }
  }

  /** The objects besides the pods, and how large each pool is to be. */
  async #ensure(wanted: Wanted): Promise<Sized> {
    const { object, desired, policies, ...drafts } = wanted;
    // Before anything is done about it: what was wanted is known whatever comes next.
    const problems = await this.#objects.record(object, decideRevision(wanted, this.#objects.revisions(object)));
    const pools: Partial<Record<Role, SizedPool>> = {};
    for (const role of ROLES) {
      const draft = drafts.pools[role];
      if (!draft) continue;
      const sized = await this.#objects.pool(object, draft, desired.pools[role]?.replicas ?? 0);
      if ('problem' in sized) problems.push(sized.problem);
      else pools[role] = sized;
    }
    const service = await this.#objects.service(object, drafts.service);
    if ('problem' in service) problems.push(service.problem);
    for (const draft of drafts.budgets) {
      const budget = await this.#objects.budget(object, draft);
      if ('problem' in budget) problems.push(budget.problem);
    }
    problems.push(...(await this.#ensurePolicies(object, policies)));
    return { pools, problems };
  }

  async #ensurePolicies(object: DeploymentObject, drafts: Wanted['policies']): Promise<string[]> {
    if (drafts !== null) {
      const ensured = await Promise.all(drafts.map((draft) => this.#objects.policy(object, draft)));
      return ensured.flatMap((one) => ('problem' in one ? [one.problem] : []));
    }
    const names = Object.values(policyNames(object.metadata.name));
    const removed = await Promise.all(names.map((name) => this.#objects.removePolicy(object, name)));
    return removed.filter((problem) => problem !== null);
  }

  #owner(object: DeploymentObject, pools: Sized['pools']): FleetOwner {
    const { namespace = 'default', name } = object.metadata;
    const owners: Partial<Record<Role, OwnerReference>> = {};
    for (const role of ROLES) {
      const pool = pools[role]?.pool;
      if (pool) owners[role] = ownerReference(pool);
    }
    return { namespace, name, deployment: ownerReference(object), pools: owners };
  }

  #scaleTexts({ spec }: Wanted, pools: Sized['pools']): Partial<Record<Role, string>> {
    const texts: Partial<Record<Role, string>> = {};
    for (const role of ROLES) {
      const sized = pools[role];
      if (!sized?.overridden) continue;
      const field = role === 'prefill' ? 'spec.prefill.replicas' : 'spec.decode.replicas';
      const wanted = role === 'prefill' ? spec.prefill?.replicas : spec.decode.replicas;
      texts[role] = overriddenText(sized.pool, field, wanted ?? 0);
    }
    return texts;
  }

  /** Once for each change: an event that comes with every round would be written again and again. */
  #tellScale(regarding: DeploymentObject, key: string, texts: Partial<Record<Role, string>>): void {
    const note = Object.values(texts).join('; ');
    if (note !== '' && this.#overridden.get(key) !== note) {
      this.#options.events.record({ regarding, type: 'Warning', reason: 'ReplicasOverridden', action: 'Scale', note });
    }
    if (note === '') this.#overridden.delete(key);
    else this.#overridden.set(key, note);
  }

  #context(object: DeploymentObject): StatusContext {
    const now = new Date(this.#options.clock.wall()).toISOString();
    return { generation: object.metadata.generation ?? 0, now, before: object.status ?? null };
  }

  #pause(now: Status, done: readonly Done[], problems: readonly string[]): number {
    if (problems.length > 0 || done.some(({ outcome }) => !outcome.ok)) return REFUSED_MS;
    if (done.length > 0 || !now.conditions.every(isSettled)) return ACTIVE_MS;
    return Math.max(SETTLED_MS, SETTLED_MS_EACH * this.#options.deployments.size);
  }

  #forget(key: string): void {
    this.#deployments.forget(key);
    this.#overridden.delete(key);
  }
}

function sizes(pools: Sized['pools']): Partial<Record<Role, number>> {
  return Object.fromEntries(Object.entries(pools).map(([role, { replicas }]) => [role, replicas]));
}
