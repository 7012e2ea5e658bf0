export { type ConditionType, isSettled } from './conditions.ts';
export { type ManifestFile, type ManifestResult, parseManifestFiles, parseManifests } from './manifest.ts';
export { formatManifestErrors, type ManifestError } from './manifest-error.ts';
export { ownArguments } from './ownarguments.ts';
export { type ResourceResult, readResource } from './resource.ts';
export { GROUP, KIND, type ServingDeploymentManifest, VERSION } from './schema.ts';
export {
  type Dtype,
  type EngineSpec,
  FREE_COSTS,
  type Percentiles,
  type PodOverrides,
  type RoleSpec,
  type RouterSettings,
  type ServiceLevel,
  type ServingDeployment,
  type ServingDeploymentSpec,
  type SimulatedCosts,
  type Toleration,
} from './servingdeployment.ts';
export { POOL_KIND, type ServingPoolStatus } from './servingpool.ts';
export { type ServingDeploymentStatus, servingDeploymentStatus } from './status.ts';
export { nearestName } from './suggestion.ts';
