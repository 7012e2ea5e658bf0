export { type ConditionReason, type ConditionType, isSettled, REASONS } from './conditions.ts';
export { type Difference, differences } from './difference.ts';
export { type KvTierManifest, type KvTierStatus, kvTierStatus, MAX_NAMED_USERS, TIER_KIND } from './kvtier.ts';
export {
  type ManifestFile,
  type ManifestOptions,
  type ManifestResult,
  parseManifestFiles,
  parseManifests,
  type ReadManifest,
  type ReadTier,
} from './manifest.ts';
export { formatManifestErrors, type ManifestError } from './manifest-error.ts';
export { PINNED_KIND, type PinnedContext, type PinnedContextStatus, pinnedContextStatus } from './pinnedcontext.ts';
export { type ResourceResult, readPinned, readResource, readTier } from './resource.ts';
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
export { type KvTier, withTier } from './tier.ts';
export { durationMs } from './units.ts';
