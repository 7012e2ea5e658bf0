/**
 * Reads a ServingDeployment as a kube-apiserver hands it out: metadata of the cluster's own beside ours, defaults filled in, a status.
 * Never throws. An object that the cluster admitted can still be refused here, when its CRD and this program are of different releases.
 */
import { z } from 'zod';
import { issueFindings } from './issue.ts';
import { formatPath } from './manifest-error.ts';
import { normalise } from './normalise.ts';
import { API_VERSION, KIND, type ServingDeploymentManifest, servingDeploymentSchema } from './schema.ts';
import type { ServingDeployment } from './servingdeployment.ts';

export type ResourceResult =
  /** `spec`: as it is written, with every default. */
  | { readonly ok: true; readonly deployment: ServingDeployment; readonly spec: ServingDeploymentManifest['spec'] }
  /** Sentences of the form `spec.kv.lease: expected …`, at most 20. */
  | { readonly ok: false; readonly errors: readonly string[] };

const MAX_ERRORS = 20;

const texts = z.record(z.string(), z.string()).default({});
/** The cluster checked names, labels and annotations; kubectl's own annotation alone can be longer than ours may be. */
const clusterMetadata = z.object({ name: z.string(), namespace: z.string(), labels: texts, annotations: texts });
const clusterObject = z.object({
  apiVersion: z.literal(API_VERSION, { error: API_VERSION }),
  kind: z.literal(KIND, { error: KIND }),
  metadata: clusterMetadata,
  spec: servingDeploymentSchema.shape.spec,
});

export function readResource(object: unknown): ResourceResult {
  const result = clusterObject.safeParse(object);
  if (result.success) return { ok: true, deployment: normalise(result.data), spec: result.data.spec };
  const errors = result.error.issues.flatMap(issueFindings).map(({ path, expected }) => `${formatPath(path)}: expected ${expected}`);
  return { ok: false, errors: [...new Set(errors)].slice(0, MAX_ERRORS) };
}
