/** The cluster that `sluice rollout` talks to, and the deployment that it is about. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { nearestName } from '../../api/facts/index.ts';
import {
  type ReadManifest,
  type ReadTier,
  readResource,
  readTier,
  type ServingDeployment,
  type ServingDeploymentManifest,
  withTier,
} from '../../api/index.ts';
import { type DeploymentObject, isOwnedBy, KV_TIERS, SERVING_DEPLOYMENTS, type TierObject } from '../../controller/operator/index.ts';
import {
  CONTROLLER_REVISIONS,
  type ControllerRevision,
  connect,
  KubernetesClient,
  KubernetesError,
  LABELS,
} from '../../platform/kubernetes/index.ts';
import type { Context } from '../context.ts';

export const ACCESS_FLAGS = {
  kubeconfig: { type: 'string' },
  context: { type: 'string' },
  namespace: { type: 'string', short: 'n' },
  help: { type: 'boolean', short: 'h' },
} as const;

export const ACCESS_HELP = `  -n, --namespace NAME   namespace of the deployment (default: that of the context)
  --kubeconfig FILE      cluster and user (default: KUBECONFIG, else ~/.kube/config, else the ServiceAccount of the pod)
  --context NAME         context of the kubeconfig (default: its current one)`;

export interface AccessFlags {
  readonly kubeconfig: string | null;
  readonly context: string | null;
  readonly namespace: string | null;
}

export interface Cluster {
  readonly client: KubernetesClient;
  readonly namespace: string;
  close(): void;
}

/** What the user can do something about; the message says what. */
export class Refusal extends Error {}

/** Owner of the fields that these commands write. */
const FIELD_MANAGER = 'sluice-rollout';

export async function openCluster({ kubeconfig, context, namespace }: AccessFlags, { env }: Context): Promise<Cluster> {
  const path = kubeconfig ?? defaultKubeconfig(env);
  if (path === null && context !== null) throw new Refusal('--context chooses a context of a kubeconfig: give --kubeconfig FILE too');
  const access =
    path === null ? ({ kind: 'in-cluster' } as const) : ({ kind: 'kubeconfig', path, ...(context === null ? {} : { context }) } as const);
  const connection = await connect(access, 'sluice-rollout');
  return {
    client: new KubernetesClient({ transport: connection.transport, fieldManager: FIELD_MANAGER }),
    namespace: namespace ?? connection.namespace,
    close: () => connection.transport.close(),
  };
}

function defaultKubeconfig(env: Context['env']): string | null {
  const [first] = (env['KUBECONFIG'] ?? '').split(':').filter((path) => path !== '');
  if (first !== undefined) return first;
  const usual = join(env['HOME'] ?? '/', '.kube/config');
  return existsSync(usual) ? usual : null;
}

export interface Found {
  readonly object: DeploymentObject;
  /** Without what the KVTier has that it names. */
  readonly deployment: ServingDeployment;
  /** With every default. */
  readonly spec: ServingDeploymentManifest['spec'];
}

/** `chat`, and as kubectl takes it `sd/chat`. */
export function nameOf(word: string): string {
  return word.replace(/^(?:sd|servingdeployments?)(?:\.serving\.sluice\.dev)?\//, '');
}

/** Throws a Refusal when it is not there or is no deployment that can be acted on. */
export async function findDeployment({ client, namespace }: Cluster, name: string): Promise<Found> {
  const object = await client.get(SERVING_DEPLOYMENTS, { name, namespace });
  if (object === null) {
    const { items } = await client.list(SERVING_DEPLOYMENTS, { namespace });
    throw new Refusal(
      notFound(
        name,
        namespace,
        items.map(({ metadata }) => metadata.name),
      ),
    );
  }
  const read = readResource(object);
  if (read.ok) return { object, deployment: read.deployment, spec: read.spec };
  throw new Refusal(`the spec of ${name} cannot be read: ${read.errors.join('; ')}. Mend it and apply it again`);
}

type Tiered = Pick<ReadManifest, 'deployment' | 'tier'>;

/** With the KVTier that it names, as the cluster has it. */
export async function withStoredTier({ client, namespace }: Cluster, deployment: ServingDeployment): Promise<Tiered> {
  const { tier } = deployment.spec.kv;
  return withReadTier(deployment, tier === null ? null : await client.get(KV_TIERS, { name: tier, namespace }));
}

/** As it is where there is no such tier, or it cannot be read: then nobody can say more of what it runs with. */
export function withReadTier(deployment: ServingDeployment, stored: TierObject | null): Tiered {
  const read = stored === null ? null : readTier(stored);
  return read?.ok ? withKnownTier(deployment, read) : { deployment, tier: null };
}

export function withKnownTier(deployment: ServingDeployment, { tier, spec }: ReadTier): Tiered {
  return { deployment: withTier(deployment, tier), tier: spec };
}

function notFound(name: string, namespace: string, there: readonly string[]): string {
  const near = nearestName(name, [...there]);
  const hint =
    there.length === 0
      ? 'there is none at all; another namespace: -n NAMESPACE'
      : near === null
        ? `there is: ${there.slice(0, MAX_SHOWN).join(', ')}`
        : `did you mean ${near}?`;
  return `there is no ServingDeployment "${name}" in namespace ${namespace}; ${hint}`;
}

const MAX_SHOWN = 10;

export async function revisionsOf({ client, namespace }: Cluster, { object }: Found): Promise<ControllerRevision[]> {
  const labelSelector = `${LABELS.deployment}=${object.metadata.name}`;
  const { items } = await client.list(CONTROLLER_REVISIONS, { namespace, labelSelector });
  return items.filter((one) => isOwnedBy(one, object));
}

/** Changes the deployment as it was seen; throws a Refusal with the API server's words when it does not take it. */
export async function patchDeployment(cluster: Cluster, { object }: Found, spec: Readonly<Record<string, unknown>>): Promise<void> {
  const { name, resourceVersion } = object.metadata;
  const reference = { name, namespace: cluster.namespace };
  const outcome = await cluster.client.merge(SERVING_DEPLOYMENTS, reference, { metadata: { resourceVersion }, spec });
  switch (outcome.kind) {
    case 'written':
      return;
    case 'rejected':
      throw new Refusal(`the API server refuses it: ${outcome.message}`);
    case 'changed':
      throw new Refusal(`somebody changed ${name} at the same time: look at it and run this again`);
    case 'absent':
      throw new Refusal(`${name} was deleted at the same time`);
  }
}

/** In words that say what to do; null = a fault of ours. */
export function explainFailure(thrown: unknown): string | null {
  if (thrown instanceof Refusal) return thrown.message;
  if (!(thrown instanceof KubernetesError)) return null;
  switch (thrown.reason) {
    case 'unknown_resource':
      return `${thrown.message} Install Sluice in this cluster first: docs/kubernetes.md`;
    case 'forbidden':
      return `${thrown.message} The cluster's role "view" is enough to look, "edit" to undo, pause and resume: ask for it`;
    default:
      return thrown.message;
  }
}
