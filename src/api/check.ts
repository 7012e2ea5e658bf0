/** A document against the schema of a ServingDeployment: the resource, or all that is wrong with it. */
import { type IssueFinding, issueFindings } from './issue.ts';
import { normalise } from './normalise.ts';
import { API_VERSION, KIND, type ServingDeploymentManifest, servingDeploymentSchema } from './schema.ts';
import type { ServingDeployment } from './servingdeployment.ts';

export type Checked =
  | { readonly manifest: ServingDeploymentManifest; readonly deployment: ServingDeployment }
  | { readonly findings: IssueFinding[] };

/** @param value what YAML or JSON gave. */
export function checkDocument(value: unknown): Checked {
  const result = servingDeploymentSchema.safeParse(value);
  if (result.success) return { manifest: result.data, deployment: normalise(result.data) };
  const all = result.error.issues.flatMap(issueFindings);
  // A document of another kind has other fields: to list them all as unknown would hide the one thing that is wrong.
  const header = isHeaderWrong(value) ? all.filter(({ path }) => path.length === 0 || path[0] === 'apiVersion' || path[0] === 'kind') : all;
  const seen = new Set<string>();
  const findings = header.filter(({ path, expected }) => {
    const key = JSON.stringify([path, expected]);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
  return { findings };
}

function isHeaderWrong(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  const { apiVersion, kind } = value as { apiVersion?: unknown; kind?: unknown };
  return (kind !== undefined && kind !== KIND) || (apiVersion !== undefined && apiVersion !== API_VERSION);
}
