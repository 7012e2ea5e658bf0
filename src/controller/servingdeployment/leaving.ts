/** Policies that let instances go: first no new requests, then, when none is left on them, the end. */
import type { Observed, ObservedInstance, Role, Step } from '../../platform/index.ts';
import { type Desired, ROLES } from './desired.ts';
import {
  holdingRouters,
  inFlight,
  isCurrent,
  isKept,
  isRoutable,
  keptRouters,
  ofRole,
  poolsFull,
  replicas,
  routedView,
  serving,
  takers,
} from './world.ts';

/** Marks ready instances that are outdated or above the wanted count, as far as the pool can spare them now. */
export function drainSurplus(desired: Desired, observed: Observed): Step[] {
  const routers = takers(observed);
  if (routers.length === 0 || routers.some(({ instances }) => instances === null)) return [];
  const rolesServe = poolsFull(desired, observed, (instance) => isRoutable(observed, instance));
  return ROLES.flatMap((role) => drainRole(desired, observed, role, rolesServe));
}

function drainRole(desired: Desired, observed: Observed, role: Role, rolesServe: boolean): Step[] {
  const kept = ofRole(observed, role).filter((instance) => isKept(instance) && instance.phase === 'ready');
  const wanted = replicas(desired, role);
  // While a roll is paused, outdated ones go only where there are too many; what was begun beside them is ended.
  const counts = (instance: ObservedInstance) => isCurrent(desired, instance) || (desired.paused && instance.family === desired.family);
  let surplus = kept.filter(counts).length - wanted;
  let routable = kept.filter((instance) => isRoutable(observed, instance)).length;
  const steps: Step[] = [];
  for (const instance of [...kept].sort((a, b) => leavingOrder(desired, observed, a, b))) {
    const outdated = !isCurrent(desired, instance);
    if (counts(instance) && surplus <= 0) continue;
    if (!canLeave(desired, observed, instance, rolesServe)) continue;
    const serves = isRoutable(observed, instance) ? 1 : 0;
    if (routable - serves < wanted && instance.family === desired.family) continue;
    routable -= serves;
    if (counts(instance)) surplus--;
    steps.push({ type: 'drainInstance', name: instance.name, reason: outdated ? outdatedReason(wanted) : `above the ${wanted} wanted` });
  }
  return steps;
}

function outdatedReason(wanted: number): string {
  return wanted === 0 ? 'the role is not wanted any more' : 'its spec changed and another one serves';
}

/** A role that goes away, or an old family, leaves only once everything that takes over serves. */
function canLeave(desired: Desired, observed: Observed, instance: ObservedInstance, rolesServe: boolean): boolean {
  if (instance.family !== desired.family) return rolesServe && serving(desired, observed).family === desired.family;
  return desired.pools[instance.role] !== undefined || rolesServe;
}

/** Outdated before current, those that serve nothing before those that do, the emptiest, then the youngest. */
function leavingOrder(desired: Desired, observed: Observed, a: ObservedInstance, b: ObservedInstance): number {
  return (
    Number(isCurrent(desired, a)) - Number(isCurrent(desired, b)) ||
    Number(isRoutable(observed, a)) - Number(isRoutable(observed, b)) ||
    (inFlight(observed, a) ?? 0) - (inFlight(observed, b) ?? 0) ||
    b.startedMs - a.startedMs ||
    (a.name < b.name ? 1 : -1)
  );
}

/** Ends draining instances that no router will use again. */
export function stopDrained(desired: Desired, observed: Observed, nowMs: number): Step[] {
  const steps: Step[] = [];
  for (const instance of observed.instances) {
    if (instance.drainingSinceMs === null || instance.phase === 'stopping' || instance.phase === 'failed') continue;
    if (isLetGo(observed, instance)) steps.push({ type: 'stopInstance', name: instance.name, reason: 'drained: no request is left on it' });
    else if (nowMs - instance.drainingSinceMs >= desired.drainTimeoutMs) {
      const count = inFlight(observed, instance);
      const left = count === null ? 'a router does not answer' : `${count} requests are still on it`;
      steps.push({ type: 'stopInstance', name: instance.name, reason: `drain timeout of ${desired.drainTimeoutMs} ms: ${left}` });
    }
  }
  return steps;
}

/** Every router that runs knows that it drains (or does not know it at all) and has nothing on it. Without one there is no telling. */
function isLetGo(observed: Observed, instance: ObservedInstance): boolean {
  if (!keptRouters(observed).some(({ instances }) => instances !== null)) return false;
  const places = holdingRouters(observed).some((router) => routedView(router, instance)?.draining === false);
  return !places && inFlight(observed, instance) === 0;
}
