/** From zod's issues to findings with one form: a path, what was expected, and a sentence. */
import { z } from 'zod';
import { formatPath } from './manifest-error.ts';
import { nearestName } from './suggestion.ts';

export interface IssueFinding {
  readonly path: readonly PropertyKey[];
  readonly expected: string;
  /** The sentence, given what stands at the path. */
  readonly sentence: (value: string) => string;
}

/** @param schema of the whole resource: where a field is unknown, those that are known are told */
export function issueFindings(issue: z.core.$ZodIssue, schema: z.ZodType): IssueFinding[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownField(issue.path, key, schema));
  const where = formatPath(issue.path) || 'the document';
  if (issue.code === 'invalid_key') {
    const expected = issue.issues[0]?.message ?? issue.message;
    return [{ path: issue.path, expected, sentence: () => `${where} has a name that cannot be used: expected ${expected}` }];
  }
  const expected = issue.message;
  const sentence = (value: string) => `${where} is ${value === 'nothing' ? 'missing' : value}: expected ${expected}`;
  return [{ path: issue.path, expected, sentence }];
}

function unknownField(parent: readonly PropertyKey[], key: string, schema: z.ZodType): IssueFinding {
  const known = knownFields(parent, schema);
  const near = nearestName(key, known);
  const expected = near ? `the field "${near}"` : `one of the fields ${known.join(', ')}`;
  const path = [...parent, key];
  const hint = near ? `did you mean "${near}"?` : `known here: ${known.join(', ')}`;
  return { path, expected, sentence: () => `${formatPath(path)}: unknown field; ${hint}` };
}

/** Names of the fields that the schema has under `path`. */
function knownFields(path: readonly PropertyKey[], of: z.ZodType): string[] {
  let schema: z.core.JSONSchema.BaseSchema | undefined = z.toJSONSchema(of, { io: 'input', unrepresentable: 'any' });
  for (const part of path) {
    const next: z.core.JSONSchema._JSONSchema | undefined = schema?.properties?.[String(part)];
    schema = typeof next === 'object' ? next : undefined;
  }
  return Object.keys(schema?.properties ?? {});
}
