/** What every container of ours has: its probes, its rights, its folders, its environment. Pure. */
import { ONE_THREAD } from '../../command.ts';
import type { InstanceSpec, KvServers } from '../../port.ts';
import type { Pod } from '../builtin.ts';

export type PodSpec = NonNullable<Pod['spec']>;
export type Container = PodSpec['containers'][number];
type Probe = NonNullable<Container['livenessProbe']>;
type Volume = NonNullable<PodSpec['volumes']>[number];

/** The same in every pod; all listen on the pod's address, routers on every one. */
export const PORTS = { instance: 8000, router: 8080, routerAdmin: 8081 } as const;

/** As the process platform probes: see process/health.ts. */
const PERIOD_SECONDS = 2;
const TIMEOUT_SECONDS = 2;
export const MISSES = 5;
/**
 * One that is killed loses its streams, so a minute of silence must pass: on a node that has too much to do all are slow at the same time.
 * Routers use no instance that is silent, and one that is not ready gets nothing, long before that.
 */
const ALIVE = { periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 } as const;
/** Seconds until a container must be ready: a simulated engine has nothing to load, vLLM and SGLang may fetch and load hundreds of gigabytes. */
export const START_SECONDS: Readonly<Record<InstanceSpec['engine'] | 'router', number>> = {
  sim: 60,
  router: 60,
  llamacpp: 600,
  vllm: 3_600,
  sglang: 3_600,
};

/** `misses`: unanswered probes in a row after which it gets no more traffic. */
export interface ProbePaths {
  readonly alive: string;
  readonly ready: string;
  readonly misses: number;
}

export function probes(paths: ProbePaths, startSeconds: number): Partial<Container> {
  const at = (path: string): Pick<Probe, 'httpGet'> => ({ httpGet: { path, port: 'http' } });
  const probe = (path: string, failureThreshold: number): Probe => ({
    ...at(path),
    periodSeconds: PERIOD_SECONDS,
    timeoutSeconds: TIMEOUT_SECONDS,
    failureThreshold,
  });
  return {
    startupProbe: probe(paths.alive, Math.ceil(startSeconds / PERIOD_SECONDS)),
    readinessProbe: probe(paths.ready, paths.misses),
    livenessProbe: { ...at(paths.alive), ...ALIVE },
  };
}

/** Folders that may be written to: the image itself may not. */
const TMP = '/tmp';
const HOME = '/home/sluice';

export interface Folders {
  readonly volumes: Volume[];
  readonly volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}

/** @param storePath where a store on disk is, which gets a volume of its own */
export function folders(engine: InstanceSpec['engine'] | 'router', kv?: KvServers, storePath?: string): Folders {
  const shared = engine === 'vllm' || engine === 'sglang' ? [{ name: 'shm', mountPath: '/dev/shm', volume: { medium: 'Memory' } }] : [];
  // No limit of its size: a pod that passes one is thrown off the node, while the store keeps to its capacity by itself.
  const store = storePath === undefined ? [] : [{ name: 'kv-store', mountPath: storePath, volume: {} }];
  const all = [{ name: 'tmp', mountPath: TMP, volume: {} }, { name: 'home', mountPath: HOME, volume: {} }, ...shared, ...store];
  const secrets = kv?.secrets ?? [];
  return {
    volumes: [
      ...all.map(({ name, volume }) => ({ name, emptyDir: volume })),
      ...secrets.map(({ volume, secret }) => ({ name: volume, secret: { secretName: secret } })),
    ],
    volumeMounts: [
      ...all.map(({ name, mountPath }) => ({ name, mountPath })),
      ...secrets.map(({ volume, folder }) => ({ name: volume, mountPath: folder, readOnly: true })),
    ],
  };
}

const POD_ADDRESS = 'POD_IP';
/** Replaced by Kubernetes in arguments and values. */
export const POD_IP = `$(${POD_ADDRESS})`;

/** Keeps Kubernetes from replacing `$(…)`: a user's words mean the same on every platform. */
export function literal(text: string): string {
  return text.replaceAll('$', '$$$$');
}

/** @param own the user's variables, which win but for the pod's address. */
export function environment(own: Readonly<Record<string, string>>, oneThread: boolean): NonNullable<Container['env']> {
  const { [POD_ADDRESS]: _, ...rest } = own;
  // Libraries ask for the name of a user that the image may not know.
  const values = { HOME, TMPDIR: TMP, USER: 'sluice', ...(oneThread ? ONE_THREAD : {}), ...rest };
  return [
    { name: POD_ADDRESS, valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
    ...Object.entries(values).map(([name, value]) => ({ name, value: literal(value) })),
  ];
}

/** Fits Pod Security level `restricted`. The number of the user is told, because nodes cannot see that an image's user by name is not root. */
export const CONTAINER_RIGHTS: NonNullable<Container['securityContext']> = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
};

const UNPRIVILEGED = 65_532;
export const POD_RIGHTS: Partial<PodSpec> = {
  // Nothing in it talks to the API server.
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: UNPRIVILEGED,
    runAsGroup: UNPRIVILEGED,
    fsGroup: UNPRIVILEGED,
    seccompProfile: { type: 'RuntimeDefault' },
  },
};
