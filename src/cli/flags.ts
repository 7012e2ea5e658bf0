/** Reads a command's flags; every mistake gets a sentence that says what to write instead. */
import { parseArgs } from 'node:util';
import { nearestName } from '../api/facts/index.ts';

export interface FlagDefinition {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
}

export type Flags<D extends Readonly<Record<string, FlagDefinition>>> = {
  readonly [K in keyof D]: D[K] extends { multiple: true } ? readonly string[] : D[K] extends { type: 'boolean' } ? boolean : string | null;
};

export type ParsedFlags<D extends Readonly<Record<string, FlagDefinition>>> =
  | { readonly ok: true; readonly flags: Flags<D>; readonly words: readonly string[] }
  | { readonly ok: false; readonly message: string };

/** @param words how many plain words (not flags) the command takes at most. */
export function parseFlags<const D extends Readonly<Record<string, FlagDefinition>>>(
  argv: readonly string[],
  definitions: D,
  words = 0,
): ParsedFlags<D> {
  const { tokens } = parseArgs({ args: [...argv], options: definitions, strict: false, allowPositionals: true, tokens: true });
  const values = new Map<string, string[]>();
  const plain: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') plain.push(token.value);
    if (token.kind !== 'option') continue;
    const definition = definitions[token.name];
    if (!definition) return refuse(`unknown flag ${token.rawName}${suggestion(token.name, definitions)}`);
    if (definition.type === 'boolean' && token.value !== undefined) return refuse(`${token.rawName} takes no value`);
    if (definition.type === 'string' && !token.value) return refuse(`${token.rawName} needs a value`);
    values.set(token.name, [...(values.get(token.name) ?? []), token.value ?? '']);
  }
  const extra = plain[words];
  if (extra !== undefined) return refuse(`unexpected argument "${extra}"`);
  const twice = [...values].find(([name, given]) => given.length > 1 && !definitions[name]?.multiple);
  if (twice) return refuse(`--${twice[0]} may be given once`);
  return { ok: true, flags: collect(definitions, values), words: plain };
}

function collect<D extends Readonly<Record<string, FlagDefinition>>>(definitions: D, values: ReadonlyMap<string, string[]>): Flags<D> {
  const entries = Object.entries(definitions).map(([name, definition]) => {
    const given = values.get(name) ?? [];
    if (definition.multiple) return [name, given];
    return [name, definition.type === 'boolean' ? given.length > 0 : (given[0] ?? null)];
  });
  // The entries were built from the very definitions that the type is computed from.
  return Object.fromEntries(entries) as Flags<D>;
}

function refuse(message: string): { ok: false; message: string } {
  return { ok: false, message };
}

function suggestion(name: string, definitions: object): string {
  const near = nearestName(name, Object.keys(definitions));
  return near === null ? '' : `; did you mean --${near}?`;
}
