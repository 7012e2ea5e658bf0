/** Whether an object is as it was last applied, so that nothing is written when nothing changed. Pure. */
import { createHash } from 'node:crypto';
import type { Draft, KubeObject } from '../../platform/kubernetes/index.ts';

/** Hash of all that was applied: a field that is left out from now on changes it, although the stored object still holds the field. */
const APPLIED = 'serving.sluice.dev/applied';

export function stamped<T extends KubeObject>(draft: Draft<T>): Draft<T> {
  const hash = createHash('sha256').update(canonical(draft)).digest('hex').slice(0, 16);
  return { ...draft, metadata: { ...draft.metadata, annotations: { ...draft.metadata.annotations, [APPLIED]: hash } } };
}

/** True when the object holds all that the draft says and was last applied from an equal one. */
export function isApplied<T extends KubeObject>(draft: Draft<T>, stored: T): boolean {
  return holds(stored, draft);
}

/** Lists are compared as a whole, mappings by the keys of `part`: the rest belongs to others. */
function holds(whole: unknown, part: unknown): boolean {
  if (part === undefined) return true;
  if (Array.isArray(part)) {
    return Array.isArray(whole) && whole.length === part.length && part.every((item, index) => holds(whole[index], item));
  }
  if (typeof part !== 'object' || part === null) return whole === part;
  return typeof whole === 'object' && whole !== null && Object.entries(part).every(([key, value]) => holds(Reflect.get(whole, key), value));
}

/** Equal whatever the order of fields is, and whether an absent one is written as undefined. */
export function isEqual(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

/** Equal for equal values. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  const sorted = fields.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(',')}}`;
}
