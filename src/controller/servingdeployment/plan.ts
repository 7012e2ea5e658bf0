/**
 * From what is wanted and what is, to the steps to take now. Pure; called again after every change, so a step is never remembered.
 *
 * Invariants
 * - Policies touch disjoint sets of objects, so all steps of one plan may be taken together.
 * - A routable instance is drained only if its pool keeps its wanted count of routable ones without it (so a roll first adds one);
 *   an instance is stopped only when no router has a request on it or may place one, or after the drain timeout.
 * - Routers that share an address are replaced like instances: as many as wanted go on serving.
 * - Instances come first: they take longer to start than a router does.
 * - When nothing needs doing the plan is empty.
 */
import type { Observed, Step } from '../../platform/index.ts';
import type { Desired } from './desired.ts';
import { drainSurplus, stopDrained } from './leaving.ts';
import { publishChangedList, restartFailedRouters, startMissingRouters, stopUnwantedRouters } from './routing.ts';
import { discardUseless, restartFailed, startMissing } from './starting.ts';

type Policy = (desired: Desired, observed: Observed, nowMs: number) => Step[];

const POLICIES: readonly Policy[] = [
  discardUseless,
  restartFailed,
  startMissing,
  startMissingRouters,
  restartFailedRouters,
  publishChangedList,
  drainSurplus,
  stopDrained,
  stopUnwantedRouters,
];

/** @param nowMs monotonic milliseconds on the clock that the observation's times come from. */
export function plan(desired: Desired, observed: Observed, nowMs: number): Step[] {
  return POLICIES.flatMap((policy) => policy(desired, observed, nowMs));
}
