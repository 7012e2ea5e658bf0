/**
 * Questions about an observed world that the policies ask. Pure.
 *
 * Words: an instance is *current* when it has the desired revision of its role, else *outdated*; it is *routable* when a router
 * that accepts requests has a live feed from this very incarnation and has not been told to drain it.
 */
import type { Observed, ObservedInstance, ObservedRouter, Role, RoutedInstance } from '../../platform/index.ts';
import { type Desired, ROLES } from './desired.ts';

/** The router that takes requests, or will. */
export function activeRouter(observed: Observed): ObservedRouter | null {
  return observed.routers.find((router) => router.phase !== 'stopping') ?? null;
}

export function isCurrent(desired: Desired, instance: ObservedInstance): boolean {
  return desired.pools[instance.role]?.revision === instance.revision;
}

/** Neither asked to drain nor to end. */
export function isKept(instance: ObservedInstance): boolean {
  return instance.drainingSinceMs === null && instance.phase !== 'stopping';
}

export function routedView(router: ObservedRouter | null, instance: ObservedInstance): RoutedInstance | null {
  return router?.instances?.find((routed) => routed.name === instance.name && routed.incarnation === instance.incarnation) ?? null;
}

export function isRoutable(observed: Observed, instance: ObservedInstance): boolean {
  const routed = routedView(activeRouter(observed), instance);
  return isKept(instance) && instance.phase === 'ready' && routed?.connected === true && !routed.draining;
}

/** Requests on the instance over all routers; null when a router that may have some did not say. */
export function inFlight(observed: Observed, instance: ObservedInstance): number | null {
  let total = 0;
  for (const router of observed.routers) {
    if (router.phase === 'failed' || router.phase === 'starting') continue;
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
 * A changed family takes over at once when all of its pools are ready and the router has live feeds from them; until then the old
 * one serves, as long as any of it is left. Once it took over it keeps the place whatever its feeds do.
 */
export function serving(desired: Desired, observed: Observed): Serving {
  const old = observed.instances.find((instance) => isKept(instance) && instance.phase === 'ready' && instance.family !== desired.family);
  if (!old) return { family: desired.family, modelName: desired.model };
  const router = activeRouter(observed);
  const takesOver = poolsFull(desired, observed, (instance) => {
    const routed = routedView(router, instance);
    return instance.phase === 'ready' && instance.family === desired.family && routed !== null && (routed.connected || !routed.draining);
  });
  return takesOver ? { family: desired.family, modelName: desired.model } : { family: old.family, modelName: old.modelName };
}
