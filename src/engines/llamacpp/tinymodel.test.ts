import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readGguf } from './gguf.ts';
import { ensureTinyModel, TINY_MODEL, tinyModelBytes } from './tinymodel.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-gguf-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('the built-in model', () => {
  it('has the same bytes for the same options, on every machine', () => {
    expect(sha256(tinyModelBytes(TINY_MODEL))).toBe('573588aeac0d206a8f44aa038136b17db822f56a89737e397409eae2658acc72');
    expect(sha256(tinyModelBytes({ ...TINY_MODEL, seed: 2 }))).not.toBe(sha256(tinyModelBytes(TINY_MODEL)));
  });

  it('is written once, whole, and leaves nothing else behind', () => {
    const path = ensureTinyModel(join(folder, 'cache'));
    expect(ensureTinyModel(join(folder, 'cache'))).toBe(path);
    expect(readdirSync(join(folder, 'cache'))).toEqual([path.slice(path.lastIndexOf('/') + 1)]);
    const head = readGguf(path);
    expect(head.metadata.get('general.architecture')).toBe('llama');
    expect(head.tensors).toHaveLength(3 + 9 * TINY_MODEL.layers);
  });

  it('refuses shapes that have no rotary halves', () => {
    expect(() => tinyModelBytes({ ...TINY_MODEL, hidden: 100 })).toThrow('hidden must be a multiple');
  });
});

describe('readGguf', () => {
  it.each([
    ['a missing file', () => join(folder, 'no-such.gguf'), 'cannot be read (ENOENT)'],
    ['a folder', () => folder, 'is not a regular file'],
    ['an empty file', () => file('empty.gguf', Buffer.alloc(0)), 'too short'],
    ['another format', () => file('other.gguf', Buffer.from('PK\x03\x04'.padEnd(64, 'x'))), 'does not start with "GGUF"'],
    ['a version of the future', () => changed('future.gguf', 4, 9), 'GGUF version 9, expected 2 or 3'],
    ['a length that cannot be', () => changed('huge.gguf', 15, 255), 'is believed'],
  ])('names the fault of %s', (_, path, message) => {
    expect(() => readGguf(path())).toThrow(message);
  });

  it('finds every truncation before llama.cpp would abort on it', () => {
    const whole = tinyModelBytes(TINY_MODEL);
    for (const length of [30, 200, 5_000, 12_000, 20_000, 1_000_000, whole.length - 64]) {
      const path = file('cut.gguf', whole);
      truncateSync(path, length);
      expect(() => readGguf(path), `cut at ${length}`).toThrow('is truncated');
    }
  });

  const file = (name: string, bytes: Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };

  const changed = (name: string, at: number, value: number) => {
    const bytes = Buffer.from(readFileSync(ensureTinyModel(folder)));
    bytes[at] = value;
    return file(name, bytes);
  };
});
