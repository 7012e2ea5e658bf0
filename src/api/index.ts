export { type ManifestFile, type ManifestResult, parseManifestFiles, parseManifests } from './manifest.ts';
export { formatManifestErrors, type ManifestError } from './manifest-error.ts';
export { ownArguments } from './ownarguments.ts';
export type {
  Dtype,
  EngineSpec,
  Percentiles,
  RoleSpec,
  RouterSettings,
  ServiceLevel,
  ServingDeployment,
  ServingDeploymentSpec,
  SimulatedCosts,
} from './servingdeployment.ts';
export { nearestName } from './suggestion.ts';
