/** The JSON Merge Patch (RFC 7386) from one value to another. Pure. */

type Mapping = Readonly<Record<string, unknown>>;

/** What is not in `after` becomes null, which removes it. */
export function mergePatch(before: Mapping, after: Mapping): Mapping {
  const gone = Object.keys(before).filter((name) => after[name] === undefined);
  const kept = Object.entries(after).flatMap(([name, value]): [string, unknown][] => {
    const old = before[name];
    if (value === undefined) return [];
    if (!isMapping(value)) return JSON.stringify(old) === JSON.stringify(value) ? [] : [[name, value]];
    const inner = mergePatch(isMapping(old) ? old : {}, value);
    return isMapping(old) && Object.keys(inner).length === 0 ? [] : [[name, inner]];
  });
  return Object.fromEntries([...gone.map((name): [string, unknown] => [name, null]), ...kept]);
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
