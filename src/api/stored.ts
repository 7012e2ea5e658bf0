/**
 * A ServingDeployment that an API server has stored. Mostly it was checked there with the same rules; not when it is older than they
 * are, or came past an older CustomResourceDefinition.
 */
import { checkDocument } from './check.ts';
import { cutValue } from './manifest-error.ts';
import { API_VERSION, KIND, type ServingDeploymentManifest } from './schema.ts';
import type { ServingDeployment } from './servingdeployment.ts';

export interface StoredDeployment {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: unknown;
}

export type StoredResult =
  /** `spec`: as it is written, with every default. */
  | { readonly ok: true; readonly deployment: ServingDeployment; readonly spec: ServingDeploymentManifest['spec'] }
  /** Sentences that name field, value and what was expected. */
  | { readonly ok: false; readonly errors: readonly string[] };

/** Never throws. Labels and annotations are left out: they are other people's. */
export function readStoredDeployment({ metadata: { name, namespace }, spec }: StoredDeployment): StoredResult {
  const document = { apiVersion: API_VERSION, kind: KIND, metadata: { name, ...(namespace === undefined ? {} : { namespace }) }, spec };
  const checked = checkDocument(document);
  if ('deployment' in checked) return { ok: true, deployment: checked.deployment, spec: checked.manifest.spec };
  return { ok: false, errors: checked.findings.map(({ path, sentence }) => sentence(shown(valueAt(document, path)))) };
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((at, part) => (typeof at === 'object' && at !== null ? Reflect.get(at, part) : undefined), value);
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : cutValue(JSON.stringify(value) ?? String(value));
}
