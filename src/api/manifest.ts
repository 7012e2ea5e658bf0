/**
 * YAML in; ServingDeployments, KVTiers and PinnedContexts or exact errors out. One file may hold several documents. All or nothing: with one error in any of
 * them, none is returned, so that a half-understood file is never applied. Sizes are bounded before anything is expanded.
 */
import { LineCounter, parseAllDocuments } from 'yaml';
import type { z } from 'zod';
import { type IssueFinding, issueFindings } from './issue.ts';
import { type KvTierManifest, kvTierSchema, TIER_KIND } from './kvtier.ts';
import { formatPath, type ManifestError } from './manifest-error.ts';
import { normalise } from './normalise.ts';
import { PINNED_KIND, type PinnedContext, pinnedContext, pinnedContextSchema } from './pinnedcontext.ts';
import { API_VERSION, KIND, type ServingDeploymentManifest, servingDeploymentSchema } from './schema.ts';
import type { ServingDeployment } from './servingdeployment.ts';
import { ManifestSource, type Place } from './source.ts';
import { type KvTier, kvTier, withTier } from './tier.ts';

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
  /** With what the KVTier has that it names, where the files hold that one. */
  readonly deployment: ServingDeployment;
  /** As it is written, with every default. */
  readonly spec: ServingDeploymentManifest['spec'];
  /** The same of that KVTier; null = it names none, or one that is elsewhere. */
  readonly tier: KvTierManifest['spec'] | null;
}

export interface ReadTier {
  readonly tier: KvTier;
  /** As it is written, with every default. */
  readonly spec: KvTierManifest['spec'];
}

export interface ManifestOptions {
  /** What is named, a KVTier or a deployment, may be in none of the files, and the files may hold no deployment: a cluster has them. */
  readonly restElsewhere?: boolean;
}

export type ManifestResult =
  | {
      readonly ok: true;
      readonly deployments: ServingDeployment[];
      readonly manifests: readonly ReadManifest[];
      readonly tiers: readonly ReadTier[];
      readonly contexts: readonly PinnedContext[];
    }
  | { readonly ok: false; readonly errors: ManifestError[] };

type Checked =
  | ({ readonly kind: typeof KIND } & Omit<ReadManifest, 'tier'>)
  | ({ readonly kind: typeof TIER_KIND } & ReadTier)
  | { readonly kind: typeof PINNED_KIND; readonly context: PinnedContext };

interface Located {
  readonly document: Checked;
  readonly file: string;
  /** Of its name. */
  readonly place: Place;
  /** Of the name of the tier or the deployment that it names. */
  readonly namedPlace: Place;
}

type Parsed = { readonly located: Located[]; readonly errors: ManifestError[] };

/** Parses one file; never throws. */
export function parseManifests(text: string, fileName: string): ManifestResult {
  return parseManifestFiles([{ fileName, text }]);
}

/** Parses files that are applied together: a name may stand once in all of them, and one may name a tier of another. Never throws. */
export function parseManifestFiles(files: readonly ManifestFile[], { restElsewhere = false }: ManifestOptions = {}): ManifestResult {
  const parsed = files.map(parseFile);
  const located = parsed.flatMap((file) => file.located);
  const tiers = located.flatMap(({ document }) => (document.kind === TIER_KIND ? [document] : []));
  const found = parsed.flatMap((file) => file.errors);
  // A document with a mistake is not among those that were read: it is not missing for that.
  const isWhole = found.length === 0 && !restElsewhere;
  const errors = [
    ...found,
    ...duplicates(located),
    ...(isWhole ? [...missingTiers(located), ...missingDeployments(located), ...noneToRun(located)] : []),
  ];
  if (errors.length > 0) return { ok: false, errors: errors.slice(0, MAX_ERRORS) };
  const manifests = located.flatMap(({ document }) => (document.kind === KIND ? [resolved(document, tiers)] : []));
  return {
    ok: true,
    deployments: manifests.map(({ deployment }) => deployment),
    manifests,
    tiers: tiers.map(({ tier, spec }) => ({ tier, spec })),
    contexts: located.flatMap(({ document }) => (document.kind === PINNED_KIND ? [document.context] : [])),
  };
}

function resolved({ deployment, spec }: Omit<ReadManifest, 'tier'>, tiers: readonly ReadTier[]): ReadManifest {
  const named = tiers.find(({ tier }) => isNamed(tier, deployment));
  return { deployment: named === undefined ? deployment : withTier(deployment, named.tier), spec, tier: named?.spec ?? null };
}

function isNamed({ name, namespace }: KvTier, { metadata, spec: { kv } }: ServingDeployment): boolean {
  return kv.tier === name && namespace === metadata.namespace;
}

function missingTiers(located: readonly Located[]): ManifestError[] {
  const tiers = located.flatMap(({ document }) => (document.kind === TIER_KIND ? [document.tier] : []));
  return located.flatMap(({ document, file, namedPlace }) => {
    if (document.kind !== KIND || document.deployment.spec.kv.tier === null) return [];
    if (tiers.some((tier) => isNamed(tier, document.deployment))) return [];
    const { namespace } = document.deployment.metadata;
    const there = tiers.filter((tier) => tier.namespace === namespace).map(({ name }) => name);
    const expected = `the name of a KVTier of namespace ${namespace} in these files${there.length === 0 ? ', which hold none' : `: ${there.join(', ')}`}`;
    const message = `spec.kv.tierRef.name is ${namedPlace.value}: expected ${expected}; add it to the file, or give its file with another -f`;
    return [{ file, ...namedPlace, path: 'spec.kv.tierRef.name', expected, message }];
  });
}

function missingDeployments(located: readonly Located[]): ManifestError[] {
  const deployments = located.flatMap(({ document }) => (document.kind === KIND ? [document.deployment.metadata] : []));
  return located.flatMap(({ document, file, namedPlace }) => {
    if (document.kind !== PINNED_KIND) return [];
    const { namespace, deployment } = document.context;
    const there = deployments.filter((one) => one.namespace === namespace).map(({ name }) => name);
    if (there.includes(deployment)) return [];
    const expected = `the name of a ${KIND} of namespace ${namespace} in these files${there.length === 0 ? ', which hold none' : `: ${there.join(', ')}`}`;
    const message = `spec.deploymentRef.name is ${namedPlace.value}: expected ${expected}; add it to the file, or give its file with another -f`;
    return [{ file, ...namedPlace, path: 'spec.deploymentRef.name', expected, message }];
  });
}

/** Tiers and contexts alone start nothing. */
function noneToRun(located: readonly Located[]): ManifestError[] {
  const [first] = located;
  // A context that names no deployment of these files is told so already.
  if (first === undefined || located.some(({ document }) => document.kind !== TIER_KIND)) return [];
  const expected = `at least one ${KIND}`;
  const message = `there are only KVTiers, which run nothing by themselves: expected ${expected} that names one in spec.kv.tierRef`;
  return [{ file: first.file, ...first.place, path: '', value: TIER_KIND, expected, message }];
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
      if ('kind' in result) {
        const place = source.place(['metadata', 'name']);
        const namedPlace = source.place(
          result.kind === PINNED_KIND ? ['spec', 'deploymentRef', 'name'] : ['spec', 'kv', 'tierRef', 'name'],
        );
        located.push({ document: result, file: fileName, place, namedPlace });
      } else errors.push(...result.findings.map((finding) => locate(finding, fileName, source)));
    }
  }
  errors.sort((a, b) => a.line - b.line || a.column - b.column);
  return filled === 0 ? null : { located, errors };
}

function check(value: unknown): Checked | { findings: IssueFinding[] } {
  if (isKind(value, PINNED_KIND)) {
    const result = pinnedContextSchema.safeParse(value);
    if (result.success) return { kind: PINNED_KIND, context: pinnedContext(result.data) };
    return { findings: findingsOf(result.error, value, pinnedContextSchema) };
  }
  if (isKind(value, TIER_KIND)) {
    const result = kvTierSchema.safeParse(value);
    if (result.success) return { kind: TIER_KIND, tier: kvTier(result.data), spec: result.data.spec };
    return { findings: findingsOf(result.error, value, kvTierSchema) };
  }
  const result = servingDeploymentSchema.safeParse(value);
  if (result.success) return { kind: KIND, deployment: normalise(result.data), spec: result.data.spec };
  return { findings: findingsOf(result.error, value, servingDeploymentSchema) };
}

function findingsOf({ issues }: z.ZodError, value: unknown, schema: z.ZodType): IssueFinding[] {
  const all = issues.flatMap((issue) => issueFindings(issue, schema));
  // A document of another kind has other fields: to list them all as unknown would hide the one thing that is wrong.
  const header = isHeaderWrong(value) ? all.filter(({ path }) => path.length === 0 || path[0] === 'apiVersion' || path[0] === 'kind') : all;
  const seen = new Set<string>();
  return header.filter(({ path, expected }) => {
    const key = JSON.stringify([path, expected]);
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function isKind(value: unknown, kind: string): boolean {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
}

function isHeaderWrong(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  const { apiVersion, kind } = value as { apiVersion?: unknown; kind?: unknown };
  return (
    (kind !== undefined && kind !== KIND && kind !== TIER_KIND && kind !== PINNED_KIND) ||
    (apiVersion !== undefined && apiVersion !== API_VERSION)
  );
}

function locate({ path, expected, sentence }: IssueFinding, file: string, source: ManifestSource): ManifestError {
  const place = source.place(path);
  return { file, ...place, path: formatPath(path), expected, message: sentence(place.value) };
}

function duplicates(located: readonly Located[]): ManifestError[] {
  const first = new Map<string, Located>();
  return located.flatMap((entry) => {
    const { document, file, place } = entry;
    const { name, namespace } = namesOf(document);
    const key = `${document.kind} ${namespace}/${name}`;
    const earlier = first.get(key);
    if (!earlier) {
      first.set(key, entry);
      return [];
    }
    const { line, column } = place;
    const expected = `a name that is used once in namespace ${namespace}`;
    const what = document.kind === KIND ? 'deployments' : `${document.kind}s`;
    const message = `metadata.name: two ${what} are named "${name}": here (line ${line}) and at ${earlier.file}:${earlier.place.line}; rename one`;
    return [{ file, line, column, path: 'metadata.name', value: JSON.stringify(name), expected, message }];
  });
}

function namesOf(document: Checked): { readonly name: string; readonly namespace: string } {
  switch (document.kind) {
    case KIND:
      return document.deployment.metadata;
    case TIER_KIND:
      return document.tier;
    case PINNED_KIND:
      return document.context;
  }
}
