/**
 * The revisions of a spec that are kept, as ControllerRevisions: what `undo` goes back to, and what counts while a roll is paused. Pure.
 *
 * A revision is all of a spec that makes instances and routers what they are: sizes and the switch that pauses are not in it. Its name has the
 * hash of that, so a spec that comes back is the same revision with a new number.
 */
import { createHash } from 'node:crypto';
import type { ServingDeploymentManifest } from '../../api/index.ts';
import type { ControllerRevision, Draft } from '../../platform/kubernetes/index.ts';
import { canonical, stamped } from './change.ts';
import { metaOf } from './drafts.ts';
import type { DeploymentObject } from './resources.ts';

type Spec = ServingDeploymentManifest['spec'];

/** Sizes when the revision was last wanted, as JSON: a role that comes back comes back with them. */
const SIZES = 'serving.sluice.dev/replicas';
const SIZED = ['prefill', 'decode', 'router'] as const;

/** Of what is wanted, what its recording needs. */
export interface Recordable {
  readonly object: DeploymentObject;
  readonly spec: Spec;
  readonly record: RevisionRecord;
}

export interface RevisionChange {
  /** Null = nothing is recorded now. */
  readonly draft: Draft<ControllerRevision> | null;
  /** Older ones than are kept. */
  readonly surplus: readonly ControllerRevision[];
}

/** What a spec is recorded as; worked out once for each version of it. */
export interface RevisionRecord {
  readonly name: string;
  readonly data: object;
  readonly sizes: string;
}

export function recordOf(deployment: DeploymentObject, spec: Spec): RevisionRecord {
  const data = revisionData(spec);
  return { name: `${deployment.metadata.name}-${hashOf(data)}`, data, sizes: JSON.stringify(sizesOf(spec)) };
}

/** @param stored those of the deployment, in any order. */
export function decideRevision(wanted: Recordable, stored: readonly ControllerRevision[]): RevisionChange {
  const { object: deployment, spec, record } = wanted;
  const [newest] = byAge(stored);
  // What is wanted while it is paused is not taken up yet; without any there is nothing that it could wait behind.
  if (spec.rollout.paused && newest !== undefined) return { draft: null, surplus: [] };
  const { name, data, sizes } = record;
  const surplus = byAge(stored.filter((one) => one.metadata.name !== name)).slice(spec.rollout.history - 1);
  if (newest?.metadata.name === name && newest.metadata.annotations?.[SIZES] === sizes) return { draft: null, surplus };
  const number = newest === undefined ? 1 : newest.metadata.name === name ? newest.revision : newest.revision + 1;
  const metadata = metaOf(deployment, name);
  const draft = stamped<ControllerRevision>({
    metadata: { ...metadata, annotations: { [SIZES]: sizes } },
    data,
    revision: number,
  });
  return { draft, surplus };
}

/** The newest first. */
export function byAge(stored: readonly ControllerRevision[]): ControllerRevision[] {
  return [...stored].sort((a, b) => b.revision - a.revision || (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** Whether `revision` was made from this spec. */
export function isOf(revision: ControllerRevision, spec: Spec): boolean {
  return revision.metadata.name.endsWith(`-${hashOf(revisionData(spec))}`);
}

/** The spec that a revision stands for, with the sizes and the switches of `present`. Not trusted: it may be older than the rules. */
export function specOf(revision: ControllerRevision, present: Spec): Readonly<Record<string, unknown>> {
  const { data } = revision;
  if (typeof data !== 'object' || data === null) return {};
  const kept = keptSizes(revision);
  const blocks = Object.entries(data).map(([name, block]) => {
    const sized = SIZED.find((one) => one === name);
    if (sized === undefined) return [name, block];
    return [name, { ...block, replicas: present[sized]?.replicas ?? kept[sized] ?? 1 }];
  });
  return { ...Object.fromEntries(blocks), rollout: present.rollout };
}

function revisionData({ rollout: _rollout, ...spec }: Spec): Readonly<Record<string, unknown>> {
  const unsized = SIZED.flatMap((name) => {
    const block = spec[name];
    if (block === undefined) return [];
    const { replicas: _replicas, ...rest } = block;
    return [[name, rest]];
  });
  return { ...spec, ...Object.fromEntries(unsized) };
}

function sizesOf(spec: Spec): Readonly<Record<string, number>> {
  return Object.fromEntries(SIZED.flatMap((name) => (spec[name] === undefined ? [] : [[name, spec[name].replicas]])));
}

function keptSizes({ metadata }: ControllerRevision): Readonly<Partial<Record<string, number>>> {
  try {
    const sizes: unknown = JSON.parse(metadata.annotations?.[SIZES] ?? '{}');
    const entries = Object.entries(typeof sizes === 'object' && sizes !== null ? sizes : {});
    return Object.fromEntries(entries.filter((entry): entry is [string, number] => Number.isInteger(entry[1])));
  } catch {
    return {}; // somebody else wrote it
  }
}

function hashOf(data: object): string {
  return createHash('sha256').update(canonical(data)).digest('hex').slice(0, 10);
}
