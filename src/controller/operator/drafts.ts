/** The objects that belong to a ServingDeployment besides its pods. Pure. */
import type { ServingDeploymentManifest } from '../../api/index.ts';
import type { Role } from '../../platform/index.ts';
import { type Draft, labelsOf, type PodDisruptionBudget, podSelector, type Service } from '../../platform/kubernetes/index.ts';
import { type Desired, ROLES } from '../servingdeployment/desired.ts';
import { stamped } from './change.ts';
import { type DeploymentObject, ownerReference, type PoolObject, poolName } from './resources.ts';
import { noteOf, type Source } from './tiers.ts';

type Spec = ServingDeploymentManifest['spec'];

/** What a deployment wants, as far as its pools are made of it. */
interface Pooled {
  readonly spec: Spec;
  readonly desired: Desired;
  readonly source: Source;
}

/** Name of the port of a router's container. */
const ROUTER_PORT = 'http';

/** Without `replicas`: those are written apart, because others may write them too. Null when the role is not wanted. */
export function poolDraft(deployment: DeploymentObject, { spec, desired, source }: Pooled, role: Role): Draft<PoolObject> | null {
  const pool = desired.pools[role];
  const settings = role === 'prefill' ? spec.prefill : spec.decode;
  if (!pool || !settings) return null;
  const { replicas: _, ...placement } = settings;
  const { family } = desired;
  const instance = { revision: pool.revision, family, model: spec.model, engine: spec.engine, kv: spec.kv, ...placement };
  const metadata = metaOf(deployment, poolName(desired.name, role), role);
  return stamped<PoolObject>({ metadata: { ...metadata, annotations: noteOf(source) }, spec: { role, instance } });
}

export function serviceDraft(deployment: DeploymentObject, spec: Spec): Draft<Service> {
  const { type, port } = spec.router.service;
  const { name } = deployment.metadata;
  return stamped<Service>({
    metadata: metaOf(deployment, name, 'router'),
    spec: { type, selector: podSelector(name, 'router'), ports: [{ name: 'http', port, protocol: 'TCP', targetPort: ROUTER_PORT }] },
  });
}

/**
 * What evictions must leave. Of a pool, whose `/scale` the API server can ask, all but one; routers have none, and of those only a
 * minimum as a number is understood.
 */
export function budgetDrafts(deployment: DeploymentObject, desired: Desired): Draft<PodDisruptionBudget>[] {
  const { name } = deployment.metadata;
  const roles = ROLES.filter((role) => desired.pools[role]);
  const pools = roles.map((role) =>
    stamped<PodDisruptionBudget>({
      metadata: metaOf(deployment, poolName(name, role), role),
      spec: { maxUnavailable: 1, selector: { matchLabels: podSelector(name, role) } },
    }),
  );
  const routers = stamped<PodDisruptionBudget>({
    metadata: metaOf(deployment, `${name}-router`, 'router'),
    spec: { minAvailable: desired.router.replicas - 1, selector: { matchLabels: podSelector(name, 'router') } },
  });
  return [...pools, routers];
}

/** Where clients inside the cluster reach the routers. */
export function serviceUrl({ metadata: { name, namespace } }: DeploymentObject, spec: Spec): string {
  return `http://${name}.${namespace ?? 'default'}.svc:${spec.router.service.port}`;
}

/** @param component none for what belongs to several of them */
export function metaOf(deployment: DeploymentObject, name: string, component?: Role | 'router') {
  const { name: of, namespace } = deployment.metadata;
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    labels: labelsOf(of, component),
    ownerReferences: [ownerReference(deployment)],
  };
}
