/**
 * Nearly all events of a stream differ in their text alone. So the bytes before and after it are kept, and an event with the same ones
 * is understood without parsing it.
 */
import type { Channel } from './channel.ts';

const QUOTE = 34;
const BACKSLASH = 92;
const STARTS: readonly (readonly [string, Buffer])[] = [
  ['text', Buffer.from('"choices":[{"index":0,"text":"')],
  ['content', Buffer.from('"choices":[{"index":0,"delta":{"content":"')],
  ['reasoning', Buffer.from('"choices":[{"index":0,"delta":{"reasoning":"')],
  // SGLang
  ['content', Buffer.from('"choices":[{"index":0,"delta":{"role":null,"content":"')],
];

export interface Template {
  readonly prefix: Buffer;
  readonly suffix: Buffer;
  /** What the client gets instead of `prefix`. */
  readonly shown: Buffer;
  readonly channel: Channel;
}

/** Where the text of an event is, and in which field; null when it does not look like that. */
export function textOf(event: Buffer): { readonly name: string; readonly from: number; readonly to: number } | null {
  for (const [name, start] of STARTS) {
    const at = event.indexOf(start);
    if (at < 0) continue;
    const from = at + start.length;
    return { name, from, to: endOfString(event, from) };
  }
  return null;
}

function endOfString(event: Buffer, from: number): number {
  let at = from;
  while (at < event.length && event[at] !== QUOTE) at += event[at] === BACKSLASH ? 2 : 1;
  return at;
}

/** The text of an event from `start` to `end` that is made like the template, unescaped; null when it is not, or has none. */
export function matched({ prefix, suffix }: Template, all: Buffer, start: number, end: number): Buffer | null {
  const from = start + prefix.length;
  const to = end - suffix.length;
  if (to <= from || all.compare(prefix, 0, prefix.length, start, from) !== 0) return null;
  if (all.compare(suffix, 0, suffix.length, to, end) !== 0) return null;
  const text = all.subarray(from, to);
  return text.indexOf(BACKSLASH) < 0 ? (text.indexOf(QUOTE) < 0 ? text : null) : unescaped(text);
}

function unescaped(text: Buffer): Buffer | null {
  try {
    return Buffer.from(JSON.parse(`"${text.toString('utf8')}"`) as string);
  } catch {
    return null; // an end of the string in the middle: another field follows
  }
}
