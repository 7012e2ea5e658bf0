export { type ConditionReason, type ConditionType, isSettled, REASONS } from './conditions.ts';
export { type Difference, differences } from './difference.ts';
export { type ManifestFile, type ManifestResult, parseManifestFiles, parseManifests, type ReadManifest } from './manifest.ts';
export { formatManifestErrors, type ManifestError } from './manifest-error.ts';
export { type ResourceResult, readResource } from './resource.ts';
export { GROUP, KIND, type ServingDeploymentManifest, VERSION } from './schema.ts';
export type {
  Credentials,
  Dtype,
  EngineSpec,
  NatsSpec,
  Percentiles,
  PodOverrides,
  RedisSpec,
  RoleSpec,
  RouterSettings,
  ServiceLevel,
  ServingDeployment,
  ServingDeploymentSpec,
  SimulatedCosts,
  StoreSettings,
  Toleration,
} from './servingdeployment.ts';
export { POOL_KIND, type ServingPoolStatus } from './servingpool.ts';
export { type ServingDeploymentStatus, servingDeploymentStatus } from './status.ts';
export { durationMs } from './units.ts';
