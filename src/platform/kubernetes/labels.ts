/** Names by which the objects of a ServingDeployment are found. Pure. */
import type { Role } from '../port.ts';

export const LABELS = {
  /** `app.kubernetes.io/…`: what other tools understand. */
  name: 'app.kubernetes.io/name',
  instance: 'app.kubernetes.io/instance',
  component: 'app.kubernetes.io/component',
  managedBy: 'app.kubernetes.io/managed-by',
  deployment: 'serving.sluice.dev/deployment',
  role: 'serving.sluice.dev/role',
  revision: 'serving.sluice.dev/revision',
  family: 'serving.sluice.dev/family',
} as const;

export const ANNOTATIONS = {
  /** RFC 3339; since then the instance takes no new requests. Stays when the operator is started anew. */
  drainingSince: 'serving.sluice.dev/draining-since',
  modelName: 'serving.sluice.dev/model-name',
} as const;

const US = 'sluice';
export type Component = Role | 'router';

/** Selects every pod of ours. */
export const MANAGED = `${LABELS.managedBy}=${US}`;

/** Labels of all that belongs to the ServingDeployment `deployment`. */
export function labelsOf(deployment: string, component?: Component): Record<string, string> {
  const role = component === undefined || component === 'router' ? {} : { [LABELS.role]: component };
  return {
    [LABELS.name]: US,
    [LABELS.instance]: deployment,
    [LABELS.managedBy]: US,
    [LABELS.deployment]: deployment,
    ...(component === undefined ? {} : { [LABELS.component]: component }),
    ...role,
  };
}

/** Labels that select the pods of one component and no others. */
export function podSelector(deployment: string, component: Component): Record<string, string> {
  return { [LABELS.deployment]: deployment, [LABELS.component]: component };
}

/** Pod of the instance or router `member`, for example `decode-1` of `chat`: `chat-decode-1`. */
export function podName(deployment: string, member: string): string {
  return `${deployment}-${member}`;
}

/** The other way; null when the pod's name is not one of that deployment. */
export function memberName(deployment: string, pod: string): string | null {
  return pod.startsWith(`${deployment}-`) ? pod.slice(deployment.length + 1) : null;
}
