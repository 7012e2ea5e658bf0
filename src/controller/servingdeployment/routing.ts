/** Policies for the routers: as many as wanted run, with the current spec, and each knows exactly the instances that it should. */
import type { Observed, ObservedInstance, ObservedRouter, PublishedInstance, Step } from '../../platform/index.ts';
import type { Desired } from './desired.ts';
import { restartDue } from './starting.ts';
import { holdingRouters, keptRouters, serving } from './world.ts';

/** Routers that a roll may add above the wanted count. */
const SURGE = 1;

export function startMissingRouters(desired: Desired, observed: Observed): Step[] {
  const { spec, revision, replicas, address } = desired.router;
  const kept = keptRouters(observed);
  const current = kept.filter((router) => router.revision === revision).length;
  const outdated = kept.length - current;
  // One that was replaced still ends its streams, but must have let go of the address.
  const held = address === 'own' && (outdated > 0 || observed.routers.some((router) => router.accepting));
  const missing = replicas - current;
  const surge = desired.paused ? 0 : SURGE;
  const room = outdated === 0 ? missing : Math.min(missing, replicas + surge - kept.length);
  if (held || room <= 0) return [];
  const taken = new Set([...observed.routers.map((router) => router.name), ...observed.takenNames]);
  const reason = startReason(desired, kept.length, outdated);
  return Array.from({ length: room }, () => ({ type: 'startRouter', name: freeName(taken), spec, revision, reason }));
}

function startReason({ router: { replicas } }: Desired, kept: number, outdated: number): string {
  if (outdated > 0) return `takes the place of an outdated one (${outdated} left)`;
  return kept === 0 ? 'no router runs' : `${replicas - kept} of ${replicas} wanted are missing`;
}

function freeName(taken: Set<string>): string {
  let index = 0;
  while (taken.has(`router-${index}`)) index++;
  const name = `router-${index}`;
  taken.add(name);
  return name;
}

export function restartFailedRouters(desired: Desired, observed: Observed, nowMs: number): Step[] {
  return keptRouters(observed)
    .filter((router) => router.phase === 'failed' && !router.heals && router.revision === desired.router.revision)
    .filter((router) => restartDue(router, nowMs))
    .map((router) => ({
      type: 'restartRouter',
      name: router.name,
      reason: `failure ${router.failures}: ${router.lastError ?? 'ended'}`,
    }));
}

export function stopUnwantedRouters(desired: Desired, observed: Observed): Step[] {
  return desired.router.address === 'own' ? replaceChangedRouter(desired, observed) : letSpareRoutersGo(desired, observed);
}

/** The address is one, so the old router goes first: it stops accepting, the new one takes the port, the old one ends its streams. */
function replaceChangedRouter(desired: Desired, observed: Observed): Step[] {
  const [router] = keptRouters(observed);
  if (!router || router.revision === desired.router.revision) return [];
  if (desired.paused && router.phase !== 'failed') return [];
  const settled = router.phase === 'failed' || serving(desired, observed).family === desired.family;
  return settled ? [{ type: 'stopRouter', name: router.name, reason: 'its spec changed' }] : [];
}

/**
 * The address is shared, so new routers come first: an outdated one, or one above the wanted count, goes when as many as wanted are at
 * least as useful as it is.
 */
function letSpareRoutersGo(desired: Desired, observed: Observed): Step[] {
  const { replicas, revision } = desired.router;
  let kept = keptRouters(observed);
  const isOutdated = (router: ObservedRouter) => router.revision !== revision;
  const order = (a: ObservedRouter, b: ObservedRouter) =>
    Number(isOutdated(b)) - Number(isOutdated(a)) ||
    usefulness(a) - usefulness(b) ||
    b.startedMs - a.startedMs ||
    (a.name < b.name ? 1 : -1);
  const steps: Step[] = [];
  for (const router of [...kept].sort(order)) {
    const counted = kept.filter((one) => desired.paused || !isOutdated(one)).length;
    if ((desired.paused || !isOutdated(router)) && counted <= replicas) continue;
    const others = kept.filter((one) => one !== router && usefulness(one) >= usefulness(router)).length;
    if (usefulness(router) > 0 && others < replicas) continue;
    kept = kept.filter((one) => one !== router);
    steps.push({ type: 'stopRouter', name: router.name, reason: isOutdated(router) ? 'its spec changed' : `above the ${replicas} wanted` });
  }
  return steps;
}

function usefulness(router: ObservedRouter): number {
  if (router.phase !== 'ready' || !router.accepting) return 0;
  return router.serving ? 2 : 1;
}

/** Those that end are told too: they still end their streams, and may get requests until everyone knows that they end. */
export function publishChangedList(desired: Desired, observed: Observed): Step[] {
  const { family, modelName: model } = serving(desired, observed);
  const instances = publishedList(observed, family);
  return holdingRouters(observed).flatMap((router): Step[] => {
    const reason = router.instances === null || knowsMore(router, observed) ? null : difference(router, instances);
    return reason === null ? [] : [{ type: 'publishInstances', router: router.name, model, instances, reason }];
  });
}

/** It has an instance that is ready and has not told us about itself yet: a list without that one would take it away. */
function knowsMore(router: ObservedRouter, observed: Observed): boolean {
  const silent = observed.instances.filter((instance) => instance.phase === 'ready' && published(instance, false) === null);
  return silent.some(({ name }) => router.instances?.some((routed) => routed.name === name) ?? false);
}

/**
 * All ready instances. Those that drain take no new requests, nor do those of another family than the one that serves: a family that
 * is coming up gets its feeds that way before it takes over. An instance that drains stays listed until it is gone: the routers'
 * word on its requests is needed.
 */
function publishedList(observed: Observed, family: string): PublishedInstance[] {
  return observed.instances.flatMap((instance) => {
    const line = published(instance, instance.drainingSinceMs !== null || instance.family !== family);
    return line ? [line] : [];
  });
}

function published(instance: ObservedInstance, draining: boolean): PublishedInstance | null {
  if (instance.phase !== 'ready' || instance.incarnation === null || instance.address === null) return null;
  const { name: id, incarnation, role, address } = instance;
  return { id, incarnation, role, url: address.url, transfer: address.transfer, draining };
}

function difference(router: ObservedRouter, wanted: readonly PublishedInstance[]): string | null {
  const known = new Map((router.instances ?? []).map((instance) => [instance.name, instance]));
  for (const instance of wanted) {
    const other = known.get(instance.id);
    if (!other) return `${instance.id} is new`;
    if (other.incarnation !== instance.incarnation) return `${instance.id} was restarted`;
    if (other.draining !== instance.draining) return `${instance.id} ${instance.draining ? 'drains' : 'takes requests again'}`;
    known.delete(instance.id);
  }
  const gone = [...known.keys()][0];
  return gone === undefined ? null : `${gone} is gone`;
}
