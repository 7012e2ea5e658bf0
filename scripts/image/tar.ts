/**
 * Tar archives that depend on their content alone: no time, no user of the machine that wrote them. POSIX ustar, with a pax record where
 * a name does not fit.
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

export type Content = { readonly file: string } | { readonly bytes: Buffer };

export type Entry =
  | { readonly type: 'folder'; readonly path: string; readonly mode: number; readonly owner?: number }
  | { readonly type: 'file'; readonly path: string; readonly mode: number; readonly content: Content }
  | { readonly type: 'link'; readonly path: string; readonly target: string };

export interface Written {
  /** `sha256:…` of the whole archive. */
  readonly digest: string;
  readonly bytes: number;
}

const BLOCK = 512;
const NAME_BYTES = 100;

/** Writes `entries` in the order of their paths, so that every folder comes before what is in it. */
export function writeTar(file: string, entries: readonly Entry[]): Written {
  const hash = createHash('sha256');
  const descriptor = openSync(file, 'w');
  let bytes = 0;
  const write = (chunk: Buffer) => {
    hash.update(chunk);
    for (let at = 0; at < chunk.length; ) at += writeSync(descriptor, chunk, at);
    bytes += chunk.length;
  };
  try {
    for (const entry of entries.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))) {
      const content = entry.type === 'file' ? bytesOf(entry.content) : Buffer.alloc(0);
      write(headerOf(entry, content.length));
      write(content);
      write(padding(content.length));
    }
    write(Buffer.alloc(2 * BLOCK));
  } finally {
    closeSync(descriptor);
  }
  return { digest: `sha256:${hash.digest('hex')}`, bytes };
}

export function bytesOf(content: Content): Buffer {
  return 'file' in content ? readFileSync(content.file) : content.bytes;
}

const TYPES = { file: '0', link: '2', folder: '5' } as const;

function headerOf(entry: Entry, size: number): Buffer {
  const path = entry.type === 'folder' ? `${entry.path}/` : entry.path;
  const target = entry.type === 'link' ? entry.target : '';
  const records = [...(fits(path) ? [] : [paxRecord('path', path)]), ...(fits(target) ? [] : [paxRecord('linkpath', target)])].join('');
  const mode = entry.type === 'link' ? 0o777 : entry.mode;
  const owner = entry.type === 'folder' ? (entry.owner ?? 0) : 0;
  const main = ustar({ name: cut(path), type: TYPES[entry.type], mode, owner, size, target: cut(target) });
  if (records === '') return main;
  const body = Buffer.from(records);
  return Buffer.concat([
    ustar({ name: 'pax', type: 'x', mode: 0o644, owner: 0, size: body.length, target: '' }),
    body,
    padding(body.length),
    main,
  ]);
}

function fits(text: string): boolean {
  return Buffer.byteLength(text) <= NAME_BYTES;
}

function cut(text: string): Buffer {
  return Buffer.from(text).subarray(0, NAME_BYTES);
}

/** `<length of this record in decimal> <key>=<value>\n`; the length counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  const digits = String(bytes + String(bytes).length).length;
  return `${bytes + digits}${rest}`;
}

interface Fields {
  readonly name: Buffer | string;
  readonly type: string;
  readonly mode: number;
  readonly owner: number;
  readonly size: number;
  readonly target: Buffer | string;
}

function ustar({ name, type, mode, owner, size, target }: Fields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, width: number) => block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at);
  block.set(Buffer.from(name), 0);
  octal(mode, 100, 8);
  octal(owner, 108, 8);
  octal(owner, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write(type, 156);
  block.set(Buffer.from(target), 157);
  block.write('ustar\x0000', 257);
  // The checksum counts its own field as spaces.
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}
