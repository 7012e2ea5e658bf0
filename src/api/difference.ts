/** What two values of the same shape differ in, field by field. Pure. */
import { formatPath } from './manifest-error.ts';

export interface Difference {
  /** Such as `spec.engine.args`. */
  readonly path: string;
  /** Undefined = it is not there. */
  readonly before: unknown;
  readonly after: unknown;
}

/** Mappings are compared by key, to any depth that a manifest may have; lists as a whole. In the order of the fields of `before`. */
export function differences(before: unknown, after: unknown, path: readonly string[] = []): Difference[] {
  if (!isMapping(before) || !isMapping(after)) return isSame(before, after) ? [] : [{ path: formatPath(path), before, after }];
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => differences(before[name], after[name], [...path, name]));
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSame(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, index) => isSame(item, b[index]));
  if (isMapping(a) && isMapping(b)) return differences(a, b).length === 0;
  return a === b;
}
