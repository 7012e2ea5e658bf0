/**
 * Arguments and variables that would part an instance from its peers, its router or its agent. A manifest was checked for them; here
 * they may also come from the environment of the machine, or from whoever started the agent by hand. Pure.
 */
import { ownArguments } from '../../api/facts/index.ts';

export interface Override {
  /** `--name` or the name of a variable. */
  readonly name: string;
  readonly value: string;
  /** What was expected and what to do. */
  readonly expected: string;
}

export interface Variable {
  /** The one value that changes nothing; null = it must not be there at all. */
  readonly only: string | null;
  readonly expected: string;
}

export interface Given {
  readonly args: readonly string[];
  /** Of the process, the user's own variables included. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Empty = nothing is wrong. */
export function overridesOf(type: 'vllm' | 'sglang', { args, env }: Given, refused: Readonly<Record<string, Variable>>): Override[] {
  const words = ownArguments({ type, args, env: {} }).map(({ path, expected }) => {
    const at = Number(path.at(-1));
    return { name: args[at]?.split('=', 1)[0] ?? '', value: valueAt(args, at), expected };
  });
  const variables = Object.entries(refused).flatMap(([name, { only, expected }]) => {
    const value = env[name];
    return value === undefined || value === only ? [] : [{ name, value, expected }];
  });
  return [...words, ...variables];
}

/** One sentence for each. */
export function explainOverride({ name, value, expected }: Override): string {
  return `${name}${value === '' ? '' : ` (given: ${value.slice(0, 200)})`}: ${expected}`;
}

function valueAt(args: readonly string[], at: number): string {
  const word = args[at] ?? '';
  const equals = word.indexOf('=');
  if (equals >= 0) return word.slice(equals + 1);
  const next = args[at + 1];
  return next === undefined || next.startsWith('-') ? '' : next;
}
