/**
 * What a change of a deployment would do to what runs: which pools and routers are replaced, and because of which fields. Pure. It compares
 * what the planner compares, so what it does not name is not touched.
 */
import { type Difference, differences, type ServingDeployment } from '../../api/index.ts';
import type { InstanceSpec, KvServers, Role } from '../../platform/index.ts';
import { type Desired, desiredOf, ROLES, type Target } from './desired.ts';

export type Part = Role | 'router';

export interface PartChange {
  readonly part: Part;
  /** How many are wanted; 0 = the part is not there. */
  readonly before: number;
  readonly after: number;
  /** Fields that make every one of them another one; none = those that stay are not touched. */
  readonly because: readonly string[];
}

export interface Changes {
  readonly parts: readonly PartChange[];
  /** Old and new instances cannot exchange KV: the new pools start beside the old ones, and take over together. */
  readonly newFamily: boolean;
}

/** @param before null = nothing runs yet */
export function changesOf(before: ServingDeployment | null, after: ServingDeployment, kind: Target['kind']): Changes {
  const target: Target = kind === 'pods' ? { kind, image: OPERATORS_IMAGE, replicas: {} } : { kind };
  const old = before === null ? null : desiredOf(before, target);
  const next = desiredOf(after, target);
  const pools = ROLES.map((role) => poolChange(role, old, next)).filter((part) => part.before + part.after > 0);
  const tier = next.tier ?? old?.tier ?? null;
  const parts = [...pools, routerChange(old, next)].map((part) => ({
    ...part,
    because: part.because.map((field) => placeOf(field, tier)),
  }));
  return { parts, newFamily: old !== null && old.family !== next.family };
}

/** Where a field is written: what a KVTier has is not in the deployment. */
function placeOf(field: string, tier: string | null): string {
  return tier === null ? field : field.replace(/^spec\.kv\.(?=(?:redis|nats|store)\b)/, `KVTier ${tier} spec.`);
}

/** The same on both sides: what a new operator changes is not asked here. */
const OPERATORS_IMAGE = 'operator';

function poolChange(role: Role, old: Desired | null, next: Desired): PartChange {
  const [was, will] = [old?.pools[role], next.pools[role]];
  const because = was && will && was.revision !== will.revision ? changedFields(role, was.spec, will.spec) : [];
  return { part: role, before: was?.replicas ?? 0, after: will?.replicas ?? 0, because };
}

function routerChange(old: Desired | null, next: Desired): PartChange {
  const because =
    old !== null && old.router.revision !== next.router.revision
      ? [
          ...differences(routerFields(old), routerFields(next), ['spec', 'router']).map(({ path }) => withoutUnit(path)),
          ...kvFields(old.router.spec.kv, next.router.spec.kv),
        ]
      : [];
  return { part: 'router', before: old?.router.replicas ?? 0, after: next.router.replicas, because };
}

/** Behind a shared address its own is none of its fields. */
function routerFields({ router: { spec, address } }: Desired): Readonly<Record<string, unknown>> {
  const config: unknown = JSON.parse(spec.config);
  return { ...(address === 'own' ? { host: spec.host, port: spec.port } : {}), ...(typeof config === 'object' ? config : {}) };
}

/** Servers of the KV tier are told as JSON, and which Secrets they need beside it. */
function kvFields(was: KvServers | undefined, will: KvServers | undefined): string[] {
  const servers = differences(toldOf(was), toldOf(will), ['spec', 'kv']).map(({ path }) => withoutUnit(path));
  const secrets = differences(secretsOf(was), secretsOf(will)).map(({ path }) => `spec.kv.${path}.credentials.secret`);
  return [...servers, ...secrets];
}

function toldOf(servers: KvServers | undefined): unknown {
  return servers === undefined ? {} : JSON.parse(servers.settings, (name, value: unknown) => (name === 'space' ? undefined : value));
}

function secretsOf(servers: KvServers | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries((servers?.secrets ?? []).map(({ volume, secret }) => [volume.replace(/^kv-/, ''), secret]));
}

/** In the program a time is in milliseconds and says so. */
function withoutUnit(path: string): string {
  return path.replace(/Ms$/, '');
}

/** The field of the resource that each part of an instance comes from; `*` stands for its role. */
const FIELDS: Readonly<Record<keyof InstanceSpec, string>> = {
  role: 'spec.*',
  engine: 'spec.engine.type',
  modelName: 'spec.model.name',
  modelSource: 'spec.model.source',
  modelRevision: 'spec.model.revision',
  dtype: 'spec.engine.dtype',
  accelerator: 'spec.*.accelerator',
  tensorParallel: 'spec.*.parallelism.tensor',
  transferBackend: 'spec.engine.transferBackend',
  contextTokens: 'spec.engine.contextTokens',
  maxSequences: 'spec.engine.maxSequences',
  blockTokens: 'spec.kv.blockTokens',
  hbmBytes: 'spec.kv.hbm.capacity',
  hostBytes: 'spec.kv.host.capacity',
  leaseMs: 'spec.kv.lease',
  store: 'spec.kv.store',
  storePath: 'spec.kv.store',
  storeSecret: 'spec.kv.store',
  kv: '',
  args: 'spec.engine.args',
  env: 'spec.engine.env',
  costs: 'the costs of sim',
  pod: '',
};

const POD_FIELDS: readonly (readonly [RegExp, string])[] = [
  [/^image$/, 'spec.engine.image'],
  [/^imagePullPolicy$/, 'spec.engine.imagePullPolicy'],
  [/^(requests|limits)(.*)$/, 'spec.*.resources.$1$2'],
  [/^overrides(.*)$/, 'spec.*.podOverrides$1'],
];

function changedFields(role: Role, was: InstanceSpec, will: InstanceSpec): string[] {
  const block = role === 'prefill' ? 'prefill' : 'decode';
  const names = Object.keys(FIELDS) as (keyof InstanceSpec)[];
  return names
    .flatMap((name) => {
      if (name === 'kv') return kvFields(was.kv, will.kv);
      const found = differences(was[name], will[name]);
      return found.map((one) => (name === 'pod' ? podField(one) : FIELDS[name]).replace('*', block));
    })
    .filter((field, index, all) => all.indexOf(field) === index);
}

function podField({ path }: Difference): string {
  const [pattern, field] = POD_FIELDS.find(([form]) => form.test(path)) ?? [/.*/, path];
  return path.replace(pattern, field);
}
