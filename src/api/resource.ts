/**
 * Reads a ServingDeployment, a KVTier or a PinnedContext as a kube-apiserver hands it out: metadata of the cluster's own beside ours, defaults filled in, a
 * status. Never throws. An object that the cluster admitted can still be refused here, when its CRD and this program are of different
 * releases.
 */
import { z } from 'zod';
import { issueFindings } from './issue.ts';
import { type KvTierManifest, kvTierSchema } from './kvtier.ts';
import { formatPath } from './manifest-error.ts';
import { normalise } from './normalise.ts';
import { type PinnedContext, pinnedContext, pinnedContextSchema } from './pinnedcontext.ts';
import { type ServingDeploymentManifest, servingDeploymentSchema } from './schema.ts';
import type { ServingDeployment } from './servingdeployment.ts';
import { type KvTier, kvTier } from './tier.ts';

interface Refused {
  readonly ok: false;
  /** Sentences of the form `spec.kv.lease: expected …`, at most 20. */
  readonly errors: readonly string[];
}

export type ResourceResult =
  /** `spec`: as it is written, with every default. */
  { readonly ok: true; readonly deployment: ServingDeployment; readonly spec: ServingDeploymentManifest['spec'] } | Refused;

type TierResult = { readonly ok: true; readonly tier: KvTier; readonly spec: KvTierManifest['spec'] } | Refused;

type PinnedResult = { readonly ok: true; readonly context: PinnedContext } | Refused;

const MAX_ERRORS = 20;

const texts = z.record(z.string(), z.string()).default({});
/** The cluster checked names, labels and annotations; kubectl's own annotation alone can be longer than ours may be. */
const metadata = z.object({ name: z.string(), namespace: z.string(), labels: texts, annotations: texts });

const { shape: deploymentShape } = servingDeploymentSchema;
const deploymentObject = z.object({ ...deploymentShape, metadata });
const { shape: tierShape } = kvTierSchema;
const tierObject = z.object({ ...tierShape, metadata });
const { shape: pinnedShape } = pinnedContextSchema;
const pinnedObject = z.object({ ...pinnedShape, metadata });

export function readResource(object: unknown): ResourceResult {
  const result = deploymentObject.safeParse(object);
  if (result.success) return { ok: true, deployment: normalise(result.data), spec: result.data.spec };
  return refused(result.error, servingDeploymentSchema);
}

export function readTier(object: unknown): TierResult {
  const result = tierObject.safeParse(object);
  if (result.success) return { ok: true, tier: kvTier(result.data), spec: result.data.spec };
  return refused(result.error, kvTierSchema);
}

export function readPinned(object: unknown): PinnedResult {
  const result = pinnedObject.safeParse(object);
  if (result.success) return { ok: true, context: pinnedContext(result.data) };
  return refused(result.error, pinnedContextSchema);
}

function refused({ issues }: z.ZodError, schema: z.ZodType): Refused {
  const sentences = issues
    .flatMap((issue) => issueFindings(issue, schema))
    .map(({ path, expected }) => `${formatPath(path)}: expected ${expected}`);
  return { ok: false, errors: [...new Set(sentences)].slice(0, MAX_ERRORS) };
}
