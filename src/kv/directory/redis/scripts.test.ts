import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COMMANDS, readScripts } from './scripts.ts';

const FOLDER = new URL('lua/', import.meta.url);
const INCLUDED = ['life.lua', 'record.lua'];

describe('the scripts', () => {
  const scripts = Object.values(readScripts());

  it('are all the files there are', () => {
    expect(readdirSync(FOLDER).sort()).toEqual([...COMMANDS.map((name) => `${name}.lua`), ...INCLUDED].sort());
  });

  it.each(COMMANDS)('%s says what it takes and answers, after its flags', (name) => {
    const lines = readFileSync(new URL(`${name}.lua`, FOLDER), 'utf8').split('\n');
    expect(lines[0]).toMatch(/^#!lua(?: flags=(?:no-writes|allow-oom))?$/);
    const header = lines
      .slice(
        1,
        lines.findIndex((line) => line.startsWith('--@include')),
      )
      .join('\n');
    for (const part of ['-- KEYS: 1 ', '-- ARGV: ', '-- Returns: ']) expect(header).toContain(part);
  });

  it('hold what they include, and look no keys up by searching', () => {
    for (const { text } of scripts) {
      expect(text).toContain('local function now_ms()');
      expect(text).not.toContain('--@include');
      expect(text).not.toMatch(/'(?:KEYS|SCAN|HSCAN|SSCAN)'/);
    }
  });

  it('are known by the digest of their whole text', () => {
    expect(new Set(scripts.map(({ sha }) => sha)).size).toBe(COMMANDS.length);
    for (const { sha } of scripts) expect(sha).toMatch(/^[0-9a-f]{40}$/);
  });
});
