/**
 * Where the servers of a deployment's KV tier come from: itself, the KVTier that it names, or, while that one is not there, what its pools were
 * made with. Pure.
 *
 * Invariants
 * - A KVTier that goes, or cannot be read, changes nothing of what runs: pools carry what was taken up last, so a restarted operator knows it.
 * - Without anything that was taken up before, nothing is started: it would be started again as soon as the tier is there.
 */
import {
  type ConditionReason,
  differences,
  GROUP,
  type KvTier,
  type KvTierManifest,
  readTier,
  type ServingDeploymentManifest,
  TIER_KIND,
  VERSION,
} from '../../api/index.ts';
import type { Role } from '../../platform/index.ts';
import { fieldOf, type PoolObject, type TierObject } from './resources.ts';

type Kv = ServingDeploymentManifest['spec']['kv'];

export type Source =
  /** The deployment's own `kv`. */
  | { readonly kind: 'own' }
  | { readonly kind: 'tier'; readonly tier: KvTier; readonly spec: KvTierManifest['spec']; readonly generation: number }
  /** `kv` of the deployment as it was when it named no tier yet; not trusted. */
  | { readonly kind: 'earlier'; readonly kv: Readonly<Record<string, unknown>> };

export const OWN: Source = { kind: 'own' };

export interface TierTrouble {
  readonly reason: Extract<ConditionReason, 'TierMissing' | 'TierInvalid'>;
  /** What is wrong and what to do. */
  readonly message: string;
}

export interface TierChoice {
  /** Null = there is none to go on with. */
  readonly source: Source | null;
  readonly trouble: TierTrouble | null;
}

/** Name of the KVTier that a spec names, which need not be sound; null = it names none. */
export function namedTier(spec: unknown): string | null {
  const name = fieldOf(fieldOf(fieldOf(spec, 'kv'), 'tierRef'), 'name');
  return typeof name === 'string' ? name : null;
}

/**
 * @param object the tier of that name, if there is one
 * @param taken what was taken up before, if anything was
 */
export function chooseTier(name: string, namespace: string, object: TierObject | undefined, taken: Source | null): TierChoice {
  const troubled = (reason: TierTrouble['reason'], what: string): TierChoice => {
    const meanwhile =
      taken === null ? 'nothing is started until then' : 'instances and routers go on with the servers that they were started with';
    return { source: taken, trouble: { reason, message: `${what}; ${meanwhile}` } };
  };
  const other = 'or let spec.kv.tierRef name another one';
  if (object === undefined) {
    return troubled('TierMissing', `KVTier ${name} is not there in namespace ${namespace}: make it (kubectl apply), ${other}`);
  }
  if (object.metadata.deletionTimestamp !== undefined) {
    return troubled('TierMissing', `KVTier ${name} is being deleted: make it anew (kubectl apply), ${other}`);
  }
  const source = tierSource(object);
  if (source.ok) return { source: source.source, trouble: null };
  return troubled(
    'TierInvalid',
    `KVTier ${name} cannot be acted on: ${source.errors.join('; ')}: change that (kubectl edit kvtier ${name}), ${other}`,
  );
}

type Read =
  | { readonly ok: true; readonly source: Source & { readonly kind: 'tier' } }
  | { readonly ok: false; readonly errors: readonly string[] };

function tierSource(object: unknown): Read {
  const read = readTier(object);
  if (!read.ok) return read;
  const generation = fieldOf(fieldOf(object, 'metadata'), 'generation');
  const { tier, spec } = read;
  return { ok: true, source: { kind: 'tier', tier, spec, generation: typeof generation === 'number' ? generation : 0 } };
}

const HEADER = { apiVersion: `${GROUP}/${VERSION}`, kind: TIER_KIND };

/** On a pool: the KVTier that it was made with, as JSON. */
const TAKEN = 'serving.sluice.dev/kv-tier';

export function noteOf(source: Source): Readonly<Record<string, string>> {
  if (source.kind !== 'tier') return {};
  const { tier, spec } = source;
  return { [TAKEN]: JSON.stringify({ name: tier.name, generation: source.generation, spec }) };
}

/** Roles, first those that a spec wants: a pool that only drains has what was before. */
export function rolesOf(spec: unknown): readonly Role[] {
  return fieldOf(spec, 'prefill') === undefined ? ['mixed', 'decode', 'prefill'] : ['decode', 'prefill', 'mixed'];
}

/** What pools of a deployment were made with, the first that says it; null when none does. */
export function takenUp(pools: readonly PoolObject[]): Source | null {
  for (const { metadata, spec } of pools) {
    const note = metadata.annotations?.[TAKEN];
    const kv = fieldOf(spec?.instance, 'kv');
    if (note === undefined) {
      if (typeof kv === 'object' && kv !== null && !('tierRef' in kv)) return { kind: 'earlier', kv: { ...kv } };
      continue;
    }
    const { name, generation, spec: noted } = readNote(note);
    const read = tierSource({ ...HEADER, metadata: { name, namespace: metadata.namespace, generation }, spec: noted });
    if (read.ok) return read.source;
  }
  return null;
}

function readNote(note: string): { readonly name?: unknown; readonly generation?: unknown; readonly spec?: unknown } {
  try {
    return Object(JSON.parse(note));
  } catch {
    return {}; // somebody else wrote it
  }
}

/** `kv` as it is written, with the servers of `earlier` in place of the tier. */
export function withEarlier(kv: Kv, earlier: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const { tierRef: _, ...own } = kv;
  return { ...own, redis: earlier['redis'], nats: earlier['nats'], store: earlier['store'] };
}

/** Fields of a tier that were changed and are not taken up: one tier against itself. */
export function tierDifferences(taken: Source, now: Source): string[] {
  if (taken.kind !== 'tier' || now.kind !== 'tier' || taken.tier.name !== now.tier.name) return [];
  return differences(taken.spec, now.spec, ['spec']).map(({ path }) => `KVTier ${now.tier.name} ${path}`);
}
