/** The commands of the directory: one Lua file each, with what they share put in. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const COMMANDS = ['join', 'renew', 'fence', 'publish', 'withdraw', 'lookup', 'lease', 'renewlease', 'release', 'stats'] as const;
export type CommandName = (typeof COMMANDS)[number];

export interface Script {
  readonly name: string;
  readonly text: string;
  /** What the server knows it by. */
  readonly sha: string;
  /** Its answer is bytes, not text. */
  readonly binary?: boolean;
}

/** What a script is given; bytes go as they are. */
export type ScriptArgument = string | number | Buffer;

export function readScripts(): Readonly<Record<CommandName, Script>> {
  const folder = new URL('lua/', import.meta.url);
  return Object.fromEntries(COMMANDS.map((name) => [name, readScript(folder, name)])) as Record<CommandName, Script>;
}

/** @param folder where its Lua is, and what that includes; ends with a slash. */
export function readScript(folder: URL, name: string): Script {
  const readLua = (file: string) => readFileSync(new URL(file, folder), 'utf8');
  const text = readLua(`${name}.lua`).replace(/^--@include (\S+)$/gm, (_line, included: string) => readLua(included).trimEnd());
  return { name, text, sha: createHash('sha1').update(text).digest('hex') };
}
