/**
 * YAML in, ServingDeployments or exact errors out. One file may hold several documents. All or nothing: with one error in any of them,
 * none is returned, so that a half-understood file is never applied. Sizes are bounded before anything is expanded.
 */
import { LineCounter, parseAllDocuments } from 'yaml';
import { type IssueFinding, issueFindings } from './issue.ts';
import { formatPath, type ManifestError } from './manifest-error.ts';
import { normalise } from './normalise.ts';
import { API_VERSION, KIND, type ServingDeploymentManifest, servingDeploymentSchema } from './schema.ts';
import type { ServingDeployment } from './servingdeployment.ts';
import { ManifestSource } from './source.ts';

const MAX_CHARACTERS = 2 ** 20;
const MAX_DOCUMENTS = 100;
const MAX_ERRORS = 100;
/** Per document: what comes after the first ones mostly follows from them. */
const MAX_SYNTAX_ERRORS = 3;
/** Aliases may stand for this many nodes in all; keeps a small file from growing into a huge one. */
const MAX_ALIASES = 50;

export interface ManifestFile {
  /** As the user knows it; used in errors only. */
  readonly fileName: string;
  readonly text: string;
}

export interface ReadManifest {
  readonly deployment: ServingDeployment;
  /** As it is written, with every default. */
  readonly spec: ServingDeploymentManifest['spec'];
}

export type ManifestResult =
  | { readonly ok: true; readonly deployments: ServingDeployment[]; readonly manifests: readonly ReadManifest[] }
  | { readonly ok: false; readonly errors: ManifestError[] };

interface Located extends ReadManifest {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

type Parsed = { readonly located: Located[]; readonly errors: ManifestError[] };

/** Parses one file; never throws. */
export function parseManifests(text: string, fileName: string): ManifestResult {
  return parseManifestFiles([{ fileName, text }]);
}

/** Parses files that are applied together: a name may stand once in all of them. Never throws. */
export function parseManifestFiles(files: readonly ManifestFile[]): ManifestResult {
  const parsed = files.map(parseFile);
  const located = parsed.flatMap((file) => file.located);
  const errors = [...parsed.flatMap((file) => file.errors), ...duplicates(located)];
  if (errors.length > 0) return { ok: false, errors: errors.slice(0, MAX_ERRORS) };
  const manifests = located.map(({ deployment, spec }) => ({ deployment, spec }));
  return { ok: true, deployments: manifests.map(({ deployment }) => deployment), manifests };
}

function parseFile({ fileName, text }: ManifestFile): Parsed {
  const whole = (expected: string, value: string, message: string): Parsed => ({
    located: [],
    errors: [{ file: fileName, line: 1, column: 1, path: '', value, expected, message }],
  });
  if (text.length > MAX_CHARACTERS) {
    const expected = `at most ${MAX_CHARACTERS} characters`;
    return whole(expected, `${text.length} characters`, `the file has ${text.length} characters: expected ${expected}`);
  }
  try {
    return (
      parseDocuments(fileName, text) ??
      whole('at least one ServingDeployment', 'nothing', `the file is empty: expected at least one ${KIND}`)
    );
  } catch (error) {
    // The YAML library reports malformed text as values, but throws on nesting deeper than its stack and on alias bombs.
    const reason = error instanceof Error ? error.message : String(error);
    return whole('YAML of moderate depth and with few aliases', 'the file', `the file cannot be expanded: ${reason}`);
  }
}

/** Null when the file holds no document at all. */
function parseDocuments(fileName: string, text: string): Parsed | null {
  const lines = new LineCounter();
  const options = { lineCounter: lines, prettyErrors: false, stringKeys: true, resolveKnownTags: false, logLevel: 'silent' } as const;
  const documents = [...parseAllDocuments(text, options)].filter((document) => 'contents' in document);
  const errors: ManifestError[] = [];
  const located: Located[] = [];
  let filled = 0;
  if (documents.length > MAX_DOCUMENTS) {
    const expected = `at most ${MAX_DOCUMENTS} documents`;
    const message = `the file has ${documents.length} documents: expected ${expected}; split it`;
    return {
      located,
      errors: [{ file: fileName, line: 1, column: 1, path: '', value: `${documents.length} documents`, expected, message }],
    };
  }
  for (const document of documents) {
    const source = new ManifestSource(document, lines);
    for (const { pos, message } of [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX_ERRORS)) {
      const sentence = `not valid YAML: ${message}`;
      errors.push({ file: fileName, ...source.position(pos[0]), path: '', value: 'this text', expected: 'valid YAML', message: sentence });
    }
    if (document.errors.length + document.warnings.length > 0) filled += 1;
    else if (document.contents !== null && source.place([]).value !== 'empty') {
      filled += 1;
      const result = check(document.toJS({ maxAliasCount: MAX_ALIASES }));
      if ('deployment' in result) located.push({ ...result, file: fileName, ...source.place(['metadata', 'name']) });
      else errors.push(...result.findings.map((finding) => locate(finding, fileName, source)));
    }
  }
  errors.sort((a, b) => a.line - b.line || a.column - b.column);
  return filled === 0 ? null : { located, errors };
}

function check(value: unknown): ReadManifest | { findings: IssueFinding[] } {
  const result = servingDeploymentSchema.safeParse(value);
  if (result.success) return { deployment: normalise(result.data), spec: result.data.spec };
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

function locate({ path, expected, sentence }: IssueFinding, file: string, source: ManifestSource): ManifestError {
  const place = source.place(path);
  return { file, ...place, path: formatPath(path), expected, message: sentence(place.value) };
}

function duplicates(located: readonly Located[]): ManifestError[] {
  const first = new Map<string, Located>();
  return located.flatMap((entry) => {
    const { name, namespace } = entry.deployment.metadata;
    const key = `${namespace}/${name}`;
    const earlier = first.get(key);
    if (!earlier) {
      first.set(key, entry);
      return [];
    }
    const { file, line, column } = entry;
    const expected = `a name that is used once in namespace ${namespace}`;
    const message = `metadata.name: two deployments are named "${name}": here (line ${line}) and at ${earlier.file}:${earlier.line}; rename one`;
    return [{ file, line, column, path: 'metadata.name', value: JSON.stringify(name), expected, message }];
  });
}
