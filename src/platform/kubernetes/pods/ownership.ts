/** Whose a pod is. What we do not own is never touched, whatever its name and labels say. Pure. */
import type { Role } from '../../port.ts';
import type { Pod } from '../builtin.ts';
import { LABELS } from '../labels.ts';
import type { OwnerReference } from '../object.ts';

export interface Owners {
  readonly name: string;
  readonly deployment: OwnerReference;
  readonly pools: Partial<Readonly<Record<Role, OwnerReference>>>;
}

/** A pool that is not named (its role is not wanted any more) still owns its pods: they are let go in order, and then the pool. */
export function isOwned({ metadata }: Pod, { name, deployment, pools }: Owners): boolean {
  if (metadata.labels?.[LABELS.deployment] !== name) return false;
  const controller = metadata.ownerReferences?.find((owner) => owner.controller === true);
  if (controller === undefined) return false;
  const role = metadata.labels[LABELS.role];
  if (role === undefined) return controller.uid === deployment.uid;
  const pool = Object.entries(pools).find(([known]) => known === role)?.[1];
  return pool === undefined
    ? controller.kind === 'ServingPool' && groupOf(controller) === groupOf(deployment)
    : controller.uid === pool.uid;
}

function groupOf({ apiVersion }: OwnerReference): string {
  return apiVersion.split('/', 1)[0] ?? '';
}
