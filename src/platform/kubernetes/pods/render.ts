/** The pod of an instance, and of a router. Pure: equal specs give equal pods. */
import { STORE_PASSWORD } from '../../../api/facts/index.ts';
import { engineArguments, routerArguments } from '../../command.ts';
import type { InstanceSpec, PodSettings, Step } from '../../port.ts';
import type { Pod } from '../builtin.ts';
import { ANNOTATIONS, type Component, LABELS, labelsOf, podName } from '../labels.ts';
import type { Draft, OwnerReference } from '../object.ts';
import {
  CONTAINER_RIGHTS,
  type Container,
  environment,
  folders,
  literal,
  MISSES,
  POD_IP,
  POD_RIGHTS,
  PORTS,
  type PodSpec,
  probes,
  START_SECONDS,
} from './container.ts';

/** Whose pod it is. */
export interface PodOwner {
  readonly namespace: string;
  /** Name of the ServingDeployment. */
  readonly deployment: string;
  readonly reference: OwnerReference;
}

/** On every image's PATH that we run; how the image starts by itself does not count. */
const PROGRAM = 'sluice';
/** After what a process needs to end by itself, before it is killed. */
const RESERVE_SECONDS = 15;
/** A router that is to go still serves for that long: proxies of the cluster hear of it a moment later. */
const LEAVING_SECONDS = 5;
/** One that says by itself that it cannot serve is to get nothing more; two in a row, lest a slow moment counts. */
const ROUTER_MISSES = 2;
const MAX_GRACE_SECONDS = 86_400;

/** Container that runs one of our programs. */
export const CONTAINERS = { instance: 'engine', router: 'router' } as const;

/** @throws RangeError when the spec was made for processes */
export function instancePod(owner: PodOwner, { name, spec, revision, family }: Step & { type: 'startInstance' }): Draft<Pod> {
  const { pod, role, engine } = spec;
  if (pod === null) throw new RangeError(`spec of ${name} says nothing about its pod, expected image, resources and overrides`);
  const { volumes, volumeMounts } = folders(engine, spec.kv, spec.storePath);
  const args = engineArguments(name, { host: ADDRESS, port: PORTS.instance }, spec, spec.modelSource);
  const container: Container = {
    name: CONTAINERS.instance,
    image: pod.image,
    ...(pod.imagePullPolicy === null ? {} : { imagePullPolicy: pod.imagePullPolicy }),
    command: [PROGRAM],
    args: args.map(word),
    env: [...environment(spec.env, spec.accelerator === null), ...storePassword(spec)],
    ports: [{ name: 'http', containerPort: PORTS.instance }],
    resources: resourcesOf(spec, pod),
    ...probes({ alive: '/health', ready: '/health', misses: MISSES }, START_SECONDS[engine]),
    volumeMounts,
    terminationMessagePolicy: 'FallbackToLogsOnError',
    securityContext: CONTAINER_RIGHTS,
  };
  const { overrides } = pod;
  return {
    metadata: metadataOf(owner, name, {
      component: role,
      labels: { ...overrides.labels, [LABELS.revision]: revision, [LABELS.family]: family },
      annotations: { ...overrides.annotations, [ANNOTATIONS.modelName]: spec.modelName },
    }),
    spec: {
      ...POD_RIGHTS,
      ...overridden(overrides),
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: graceSeconds(drainMs(spec), RESERVE_SECONDS),
      containers: [container],
      volumes,
    },
  };
}

/** @throws RangeError when the spec was made for processes */
export function routerPod(owner: PodOwner, { name, spec, revision }: Step & { type: 'startRouter' }): Draft<Pod> {
  if (spec.image === null) throw new RangeError(`spec of ${name} names no image, expected that of the operator`);
  const { volumes, volumeMounts } = folders('router', spec.kv);
  // On loopback too, which is where `kubectl port-forward` asks.
  const at = { host: '::', port: PORTS.router, adminHost: ADDRESS, adminPort: PORTS.routerAdmin };
  const container: Container = {
    name: CONTAINERS.router,
    image: spec.image,
    command: [PROGRAM],
    args: routerArguments(spec, at).map(word),
    env: environment({}, false),
    ports: [
      { name: 'http', containerPort: PORTS.router },
      { name: 'admin', containerPort: PORTS.routerAdmin },
    ],
    ...probes({ alive: '/healthz', ready: '/readyz', misses: ROUTER_MISSES }, START_SECONDS.router),
    lifecycle: { preStop: { sleep: { seconds: LEAVING_SECONDS } } },
    volumeMounts,
    terminationMessagePolicy: 'FallbackToLogsOnError',
    securityContext: CONTAINER_RIGHTS,
  };
  return {
    metadata: metadataOf(owner, name, { component: 'router', labels: { [LABELS.revision]: revision }, annotations: {} }),
    spec: {
      ...POD_RIGHTS,
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: graceSeconds(spec.graceMs, LEAVING_SECONDS + RESERVE_SECONDS),
      containers: [container],
      volumes,
    },
  };
}

/** Stands for the pod's address until it is written into the container. No user's word can be equal to it. */
const ADDRESS = '\0pod address';

function word(argument: string): string {
  return argument === ADDRESS ? POD_IP : literal(argument);
}

interface Marks {
  readonly component: Component;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

function metadataOf(owner: PodOwner, name: string, { component, labels, annotations }: Marks): Draft<Pod>['metadata'] {
  return {
    name: podName(owner.deployment, name),
    namespace: owner.namespace,
    labels: { ...labels, ...labelsOf(owner.deployment, component) },
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    ownerReferences: [{ ...owner.reference, controller: true, blockOwnerDeletion: true }],
  };
}

function overridden(overrides: PodSettings['overrides']): Partial<PodSpec> {
  const { nodeSelector, tolerations, priorityClassName, serviceAccountName, imagePullSecrets } = overrides;
  return {
    ...(Object.keys(nodeSelector).length === 0 ? {} : { nodeSelector }),
    ...(tolerations.length === 0 ? {} : { tolerations: tolerations.map(withoutAbsent) }),
    ...(priorityClassName === null ? {} : { priorityClassName }),
    ...(serviceAccountName === null ? {} : { serviceAccountName }),
    ...(imagePullSecrets.length === 0 ? {} : { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) }),
  };
}

type Toleration = NonNullable<PodSpec['tolerations']>[number];

function withoutAbsent(toleration: PodSettings['overrides']['tolerations'][number]): Toleration {
  return Object.fromEntries(Object.entries(toleration).filter(([, value]) => value !== undefined));
}

const NVIDIA_GPU = 'nvidia.com/gpu';

/** As the user wrote them; an accelerator is asked for by the common name of NVIDIA's, unless the user names one of its own. */
function resourcesOf(
  { accelerator, tensorParallel }: InstanceSpec,
  { requests, limits }: PodSettings,
): NonNullable<Container['resources']> {
  const named = Object.keys({ ...requests, ...limits }).some((name) => name.startsWith('nvidia.com/'));
  const gpus = accelerator === null || named ? {} : { [NVIDIA_GPU]: String(tensorParallel ?? 1) };
  return {
    ...(Object.keys(requests).length === 0 ? {} : { requests }),
    ...(Object.keys({ ...limits, ...gpus }).length === 0 ? {} : { limits: { ...limits, ...gpus } }),
  };
}

function storePassword({ storeSecret }: InstanceSpec): NonNullable<Container['env']> {
  return storeSecret === undefined ? [] : [{ name: STORE_PASSWORD, valueFrom: { secretKeyRef: { ...storeSecret, optional: false } } }];
}

/** How long an instance that is asked to end waits for leases; a user's argument may say it longer. */
function drainMs({ leaseMs, args }: InstanceSpec): number {
  const told = args.flatMap((argument, index) => {
    const text = /^--drain-ms(?:=(\d+))?$/.exec(argument);
    return text === null ? [] : [Number(text[1] ?? args[index + 1])];
  });
  return Math.max(leaseMs, ...told.filter(Number.isFinite));
}

function graceSeconds(ms: number, reserve: number): number {
  return Math.min(MAX_GRACE_SECONDS, Math.ceil(ms / 1_000) + reserve);
}
