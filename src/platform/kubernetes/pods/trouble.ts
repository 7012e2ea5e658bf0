/** What is wrong with a pod, in words that name the object and what to do. Pure. */
import { lastWords } from '../../lastwords.ts';
import type { Pod } from '../builtin.ts';

export type ContainerStatus = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];
type Terminated = NonNullable<NonNullable<ContainerStatus['state']>['terminated']>;

export interface Trouble {
  /** `waits`: it could not start yet, and Kubernetes goes on trying. `ended`: it ran and ended. `lost`: nobody will start it again. */
  readonly kind: 'waits' | 'ended' | 'lost';
  readonly message: string;
  /** RFC 3339. */
  readonly since: string | null;
}

/** Fields of the ServingDeployment that a message names. */
export interface Fields {
  readonly image: string;
  /** Such as `spec.decode`. */
  readonly role: string | null;
}

/** What keeps it from running now; null when nothing does. */
export function troubleOf(pod: Pod, fields: Fields): Trouble | null {
  return lost(pod) ?? unscheduled(pod, fields) ?? ofContainer(pod, fields);
}

/** How its container ended before the life of now; null when it never did. */
export function lastEnd(pod: Pod, fields: Fields): string | null {
  const ended = containerOf(pod)?.lastState?.terminated;
  return ended === undefined ? null : endOf(pod, ended, fields);
}

export function containerOf(pod: Pod): ContainerStatus | null {
  return pod.status?.containerStatuses?.[0] ?? null;
}

function lost(pod: Pod): Trouble | null {
  const { phase, reason, message } = pod.status ?? {};
  if (phase !== 'Failed' && phase !== 'Succeeded') return null;
  const ended = containerOf(pod)?.state?.terminated;
  const why = [reason, message].filter((text) => text !== undefined && text !== '').join(': ');
  const last = ended?.finishedAt ?? null;
  return { kind: 'lost', message: `pod ${keyOf(pod)} has ended (${why === '' ? phase : why})`, since: last };
}

function unscheduled(pod: Pod, { role }: Fields): Trouble | null {
  const condition = pod.status?.conditions?.find(({ type, status }) => type === 'PodScheduled' && status === 'False');
  if (condition === undefined) return null;
  const fix = role === null ? 'add a node' : `add a node, or ask for less in ${role}.resources or podOverrides`;
  return waits(pod, `fits no node: ${condition.message ?? condition.reason ?? 'no reason is given'} To mend it: ${fix}.`);
}

function ofContainer(pod: Pod, fields: Fields): Trouble | null {
  const status = containerOf(pod);
  const { waiting, terminated } = status?.state ?? {};
  if (terminated !== undefined) return { kind: 'ended', message: endOf(pod, terminated, fields), since: terminated.finishedAt ?? null };
  if (waiting === undefined) return null;
  const { reason = '', message = '' } = waiting;
  switch (reason) {
    case 'CrashLoopBackOff': {
      const ended = status?.lastState?.terminated;
      const how = ended === undefined ? `pod ${keyOf(pod)} ends again and again: ${message}` : endOf(pod, ended, fields);
      return { kind: 'ended', message: how, since: ended?.finishedAt ?? null };
    }
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'ErrImageNeverPull':
    case 'InvalidImageName':
    case 'RegistryUnavailable':
    case 'ImageInspectError':
      return waits(pod, `cannot get image "${status?.image ?? ''}" (${reason}): ${message}. To mend it: ${imageFix(fields)}.`);
    case 'CreateContainerConfigError':
    case 'CreateContainerError':
    case 'RunContainerError':
    case 'StartError':
      return waits(pod, `cannot start its container (${reason}): ${message}. Look at: kubectl describe pod ${asArguments(pod)}.`);
    default:
      return null; // ContainerCreating and its like: it goes on
  }
}

function imageFix({ image, role }: Fields): string {
  const secrets = role === null ? '' : `, or name a Secret in ${role}.podOverrides.imagePullSecrets when the registry wants one`;
  return `correct ${image}${secrets}`;
}

function waits(pod: Pod, what: string): Trouble {
  return { kind: 'waits', message: `pod ${keyOf(pod)} ${what}`, since: null };
}

const KEPT_LINES = 3;

function endOf(pod: Pod, { exitCode, reason, message }: Terminated, { role }: Fields): string {
  const code = reason === undefined || reason === 'Error' ? `exit code ${exitCode}` : `exit code ${exitCode}, ${reason}`;
  const lines = (message ?? '').split('\n').filter((line) => line.trim() !== '');
  const words = [`pod ${keyOf(pod)}: ${code}`, ...lastWords(lines.slice(-KEPT_LINES))].join(': ');
  if (reason === 'OOMKilled')
    return `${words}. To mend it: raise ${role ?? 'the'} memory limit${role === null ? '' : ` (${role}.resources.limits.memory)`}`;
  return lines.length > 0 ? words : `${words}. Look at: kubectl logs ${asArguments(pod)} --previous`;
}

function keyOf({ metadata }: Pod): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function asArguments({ metadata }: Pod): string {
  return `${metadata.name} -n ${metadata.namespace}`;
}
