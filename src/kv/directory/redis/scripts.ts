/** The commands of the directory: one Lua file each, with what they share put in. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const COMMANDS = ['join', 'renew', 'fence', 'publish', 'withdraw', 'lookup', 'lease', 'renewlease', 'release', 'stats'] as const;
export type CommandName = (typeof COMMANDS)[number];

export interface Script {
  readonly name: CommandName;
  readonly text: string;
  /** What the server knows it by. */
  readonly sha: string;
}

export function readScripts(): Readonly<Record<CommandName, Script>> {
  const scripts = COMMANDS.map((name) => {
    const text = readLua(`${name}.lua`).replace(/^--@include (\S+)$/gm, (_line, included: string) => readLua(included).trimEnd());
    return [name, { name, text, sha: createHash('sha1').update(text).digest('hex') }] as const;
  });
  return Object.fromEntries(scripts) as Record<CommandName, Script>;
}

function readLua(name: string): string {
  return readFileSync(new URL(`lua/${name}`, import.meta.url), 'utf8');
}
