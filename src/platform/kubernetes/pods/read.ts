/** A pod as the controller sees it: an instance or a router of its ServingDeployment. Pure. */
import type { ObservedInstance, ObservedRouter, Phase, Role, RoutedInstance } from '../../port.ts';
import type { Pod } from '../builtin.ts';
import { ANNOTATIONS, type Component, LABELS, memberName } from '../labels.ts';
import { PORTS } from './container.ts';
import { containerOf, type Fields, lastEnd, troubleOf } from './trouble.ts';

/** What an instance said of itself, once in each life of its container. */
export interface Hello {
  readonly incarnation: string;
  readonly transfer: { readonly host: string; readonly port: number };
}

/** Turns times of the API into ours. */
export interface Now {
  /** Monotonic ms. */
  readonly nowMs: number;
  /** Unix ms. */
  readonly wallMs: number;
}

/** A while of service after which earlier failures are forgotten; as on the process platform. */
const STABLE_MS = 60_000;

export function isRouter(pod: Pod): boolean {
  return pod.metadata.labels?.[LABELS.component] === ('router' satisfies Component);
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** Names one life of the pod's container; null while it has none. */
export function lifeOf(pod: Pod): string | null {
  const status = containerOf(pod);
  if (status?.state?.running === undefined) return null;
  return `${pod.metadata.uid}/${status.restartCount}/${status.containerID ?? ''}`;
}

/** `http://address:port`, or null while the pod has no address. */
export function urlOf(pod: Pod, port: number): string | null {
  const ip = pod.status?.podIP;
  if (ip === undefined || ip === '') return null;
  return `http://${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
}

/** Null when the pod is no instance of that deployment. */
export function readInstance(pod: Pod, deployment: string, hello: Hello | null, now: Now): ObservedInstance | null {
  const { labels = {}, annotations = {}, name } = pod.metadata;
  const [member, role] = [memberName(deployment, name), roleOf(labels[LABELS.role])];
  if (member === null || role === null) return null;
  const url = urlOf(pod, PORTS.instance);
  return {
    ...readProcess(pod, instanceFields(role), isReady(pod), now),
    name: member,
    role,
    modelName: annotations[ANNOTATIONS.modelName] ?? '',
    family: labels[LABELS.family] ?? '',
    incarnation: hello?.incarnation ?? null,
    address: url === null || hello === null ? null : { url, transfer: hello.transfer },
    drainingSinceMs: monotonic(annotations[ANNOTATIONS.drainingSince], now),
  };
}

/** So far apart may the clocks of two machines be. */
const CLOCKS_APART_MS = 60_000;

/**
 * Since when an instance drains, at the latest: the mark has the time of the operator that set it, whose clock may be behind ours, and it was
 * set before we saw it. A drain that seems older than it is would be cut short, and streams with it.
 * @param toldMs the mark's time, and when this process first saw it, both in monotonic ms
 */
export function drainingSince(toldMs: number | null, seenMs: number | null): number | null {
  return toldMs === null || seenMs === null ? (toldMs ?? seenMs) : Math.min(seenMs, toldMs + CLOCKS_APART_MS);
}

/** What the router itself says. */
export type RouterSaid = Pick<ObservedRouter, 'kv'> & { readonly instances: readonly RoutedInstance[] };

/** Null when the pod is no router of that deployment. */
export function readRouter(pod: Pod, deployment: string, said: RouterSaid | null, now: Now): ObservedRouter | null {
  const member = memberName(deployment, pod.metadata.name);
  if (member === null || !isRouter(pod)) return null;
  const started = containerOf(pod)?.started === true;
  const read = readProcess(pod, ROUTER_FIELDS, started, now);
  return {
    ...read,
    name: member,
    accepting: read.phase === 'ready',
    url: urlOf(pod, PORTS.router),
    adminUrl: urlOf(pod, PORTS.routerAdmin),
    serving: read.phase === 'ready' && isReady(pod),
    instances: said?.instances ?? null,
    ...(said?.kv === undefined ? {} : { kv: said.kv }),
  };
}

type Process = Pick<ObservedRouter, 'revision' | 'phase' | 'startedMs' | 'failedMs' | 'failures' | 'lastError' | 'heals'>;

function readProcess(pod: Pod, fields: Fields, isWell: boolean, now: Now): Process {
  const trouble = troubleOf(pod, fields);
  const status = containerOf(pod);
  const startedAt = status?.state?.running?.startedAt ?? pod.metadata.creationTimestamp;
  const startedMs = monotonic(startedAt, now) ?? now.nowMs;
  const failed = trouble !== null && trouble.kind !== 'waits';
  const phase: Phase = pod.metadata.deletionTimestamp !== undefined ? 'stopping' : failed ? 'failed' : isWell ? 'ready' : 'starting';
  const isStable = phase === 'ready' && now.nowMs - startedMs >= STABLE_MS;
  const restarts = status?.restartCount ?? 0;
  return {
    revision: pod.metadata.labels?.[LABELS.revision] ?? '',
    phase,
    startedMs,
    failedMs: failed ? (monotonic(trouble.since ?? undefined, now) ?? now.nowMs) : null,
    failures: isStable ? 0 : restarts + (failed ? 1 : 0),
    lastError: trouble?.message ?? (isStable ? null : lastEnd(pod, fields)),
    // The kubelet starts containers again; nobody does that with a pod that is over.
    heals: trouble?.kind === 'ended',
  };
}

function roleOf(text: string | undefined): Role | null {
  return text === 'prefill' || text === 'decode' || text === 'mixed' ? text : null;
}

/** A mixed pool is written as `decode`. */
export function instanceFields(role: Role): Fields & { readonly role: string } {
  return { image: 'spec.engine.image', role: `spec.${role === 'prefill' ? 'prefill' : 'decode'}` };
}

const ROUTER_FIELDS: Fields = { image: 'the image that the operator was told to use', role: null };

function monotonic(time: string | undefined, { nowMs, wallMs }: Now): number | null {
  const parsed = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(parsed) ? null : nowMs - (wallMs - parsed);
}
