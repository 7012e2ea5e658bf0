/**
 * Questions about an observed world that the policies ask. Pure.
 *
 * Words: an instance is *current* when it has the desired revision of its role, else *outdated*; it is *routable* when every router
 * that takes requests has a live feed from this very incarnation and has not been told to drain it; it is *in use* when one of them
 * has, or may have: one that does not answer, or an instance that has not said yet who it is, says nothing against it.
 */
import type { Observed, ObservedInstance, ObservedRouter, Role, RoutedInstance } from '../../platform/index.ts';
import { type Desired, ROLES } from './desired.ts';

/** Routers that were not asked to end. */
export function keptRouters(observed: Observed): ObservedRouter[] {
  return observed.routers.filter((router) => router.phase !== 'stopping');
}

/**
 * The routers that clients get to. One that does not serve gets no requests as long as another one does; while none serves, those
 * that run count, or nothing could come up.
 */
export function takers(observed: Observed): ObservedRouter[] {
  const running = keptRouters(observed).filter((router) => router.phase === 'ready' && router.accepting);
  const serving = running.filter((router) => router.serving);
  return serving.length > 0 ? serving : running;
}

export function isCurrent(desired: Desired, instance: ObservedInstance): boolean {
  return desired.pools[instance.role]?.revision === instance.revision;
}

/** Neither asked to drain nor to end. */
export function isKept(instance: ObservedInstance): boolean {
  return instance.drainingSinceMs === null && instance.phase !== 'stopping';
}

export function routedView(router: ObservedRouter, instance: ObservedInstance): RoutedInstance | null {
  return router.instances?.find((routed) => routed.name === instance.name && routed.incarnation === instance.incarnation) ?? null;
}

export function isRoutable(observed: Observed, instance: ObservedInstance): boolean {
  const routers = takers(observed);
  return routers.length > 0 && routers.every((router) => places(router, instance));
}

export function isInUse(observed: Observed, instance: ObservedInstance): boolean {
  if (!isKept(instance) || instance.phase !== 'ready') return false;
  const routers = takers(observed);
  return routers.length === 0 || routers.some((router) => mayPlace(router, instance));
}

function mayPlace({ instances }: ObservedRouter, { name, incarnation }: ObservedInstance): boolean {
  if (instances === null) return true;
  const same = (routed: RoutedInstance) => routed.name === name && (incarnation === null || routed.incarnation === incarnation);
  return instances.some((routed) => same(routed) && routed.connected && !routed.draining);
}

/** The router may place new requests on it, and does. */
function places(router: ObservedRouter, instance: ObservedInstance): boolean {
  const routed = routedView(router, instance);
  return isKept(instance) && instance.phase === 'ready' && routed?.connected === true && !routed.draining;
}

/**
 * Routers that may have requests on instances: all that run, those that end among them. One that has failed took its requests along,
 * one that starts has none yet.
 */
export function holdingRouters(observed: Observed): ObservedRouter[] {
  return observed.routers.filter((router) => router.phase === 'ready' || router.phase === 'stopping');
}

/** Requests on the instance over all routers; null when a router that may have some did not say. */
export function inFlight(observed: Observed, instance: ObservedInstance): number | null {
  let total = 0;
  for (const router of holdingRouters(observed)) {
    if (router.instances === null) return null;
    total += routedView(router, instance)?.inFlight ?? 0;
  }
  return total;
}

export function replicas(desired: Desired, role: Role): number {
  return desired.pools[role]?.replicas ?? 0;
}

export function ofRole(observed: Observed, role: Role): ObservedInstance[] {
  return observed.instances.filter((instance) => instance.role === role);
}

/** Every wanted pool has its full count of current instances that satisfy `counts`. */
export function poolsFull(desired: Desired, observed: Observed, counts: (instance: ObservedInstance) => boolean): boolean {
  return ROLES.every((role) => {
    const full = ofRole(observed, role).filter((instance) => isCurrent(desired, instance) && isKept(instance) && counts(instance));
    return full.length >= replicas(desired, role);
  });
}

/** What new requests are served with. */
export interface Serving {
  readonly family: string;
  readonly modelName: string;
}

/**
 * A changed family takes over at once when all of its pools are ready and every router that takes requests has live feeds from them;
 * until then the old one serves, as long as any of it is left. Once it took over anywhere it keeps the place whatever its feeds do.
 */
export function serving(desired: Desired, observed: Observed): Serving {
  const old = observed.instances.find((instance) => isKept(instance) && instance.phase === 'ready' && instance.family !== desired.family);
  if (!old) return { family: desired.family, modelName: desired.model };
  const routers = takers(observed);
  const all = (router: ObservedRouter, counts: (routed: RoutedInstance) => boolean) =>
    poolsFull(desired, observed, (instance) => {
      const routed = routedView(router, instance);
      return instance.phase === 'ready' && instance.family === desired.family && routed !== null && counts(routed);
    });
  const tookOver = routers.some((router) => all(router, ({ draining }) => !draining));
  const canTakeOver = routers.length > 0 && routers.every((router) => all(router, ({ connected, draining }) => connected || !draining));
  return tookOver || canTakeOver ? { family: desired.family, modelName: desired.model } : { family: old.family, modelName: old.modelName };
}
