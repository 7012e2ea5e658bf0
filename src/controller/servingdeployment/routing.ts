/** Policies for the router: one runs, with the current spec, and knows exactly the instances that it should. */
import type { Observed, ObservedInstance, ObservedRouter, PublishedInstance, Step } from '../../platform/index.ts';
import type { Desired } from './desired.ts';
import { restartDue } from './starting.ts';
import { activeRouter, serving } from './world.ts';

/** One that was replaced still ends its streams, but must have let go of the port. */
export function startMissingRouter(desired: Desired, observed: Observed): Step[] {
  if (activeRouter(observed) || observed.routers.some((router) => router.accepting)) return [];
  const taken = new Set(observed.routers.map((router) => router.name));
  let index = 0;
  while (taken.has(`router-${index}`)) index++;
  const { spec, revision } = desired.router;
  return [{ type: 'startRouter', name: `router-${index}`, spec, revision, reason: 'no router runs' }];
}

export function restartFailedRouter(desired: Desired, observed: Observed, nowMs: number): Step[] {
  const router = activeRouter(observed);
  if (router?.phase !== 'failed' || router.revision !== desired.router.revision || !restartDue(router, nowMs)) return [];
  return [{ type: 'restartRouter', name: router.name, reason: `failure ${router.failures}: ${router.lastError ?? 'ended'}` }];
}

/** The address is one, so the old router goes first: it stops accepting, the new one takes the port, the old one ends its streams. */
export function replaceChangedRouter(desired: Desired, observed: Observed): Step[] {
  const router = activeRouter(observed);
  if (!router || router.revision === desired.router.revision) return [];
  const settled = router.phase === 'failed' || serving(desired, observed).family === desired.family;
  return settled ? [{ type: 'stopRouter', name: router.name, reason: 'its spec changed' }] : [];
}

export function publishChangedList(desired: Desired, observed: Observed): Step[] {
  const router = activeRouter(observed);
  if (router?.phase !== 'ready' || router.instances === null) return [];
  const { family, modelName: model } = serving(desired, observed);
  const instances = publishedList(observed, family);
  const reason = difference(router, instances);
  return reason === null ? [] : [{ type: 'publishInstances', router: router.name, model, instances, reason }];
}

/**
 * All ready instances. Those that drain take no new requests, nor do those of another family than the one that serves: a family that
 * is coming up gets its feeds that way before it takes over. An instance that drains stays listed until it is gone: the router's
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
