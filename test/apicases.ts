/** The cases of test/data/api-cases (see its README), completed to whole manifests. */
import { readdirSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: unknown;
}

export interface ApiCase {
  readonly file: string;
  readonly name: string;
  readonly manifest: Manifest;
  /** The object as it was before; null = it is new. */
  readonly before: Manifest | null;
  /** Null = accepted. */
  readonly refused: { readonly path: string; readonly says: string } | null;
}

interface WrittenCase {
  readonly name: string;
  readonly manifest: Partial<Manifest>;
  readonly before?: Partial<Manifest>;
  readonly ok?: true;
  readonly refused?: { readonly path: string; readonly says?: string };
}

const FOLDER = new URL('./data/api-cases/', import.meta.url);
const HEADER = { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', metadata: { name: 'case' } };

export function apiCases(): ApiCase[] {
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'));
  return files.sort().flatMap((file) => {
    const written: readonly WrittenCase[] = parse(readFileSync(new URL(file, FOLDER), 'utf8'), { merge: true });
    return written.map((one) => complete(file, one));
  });
}

function complete(file: string, { name, manifest, before, ok, refused }: WrittenCase): ApiCase {
  if ((ok === true) === (refused !== undefined)) throw new Error(`${file}: "${name}" must be either ok or refused`);
  return {
    file,
    name,
    manifest: { ...HEADER, ...manifest },
    before: before ? { ...HEADER, ...before } : null,
    refused: refused ? { path: refused.path, says: refused.says ?? '' } : null,
  };
}
