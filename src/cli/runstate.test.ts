import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { removeRunState, runStates, writeRunState } from './runstate.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'runstate-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const STATE = { name: 'd', pid: process.pid, url: 'http://u', adminUrl: 'http://a' };
/** Above what Linux gives out. */
const DEAD_PID = 2 ** 22 + 1;

it('finds what runs', () => {
  const path = writeRunState(folder, STATE);
  expect(runStates(folder)).toEqual([STATE]);
  removeRunState(path);
  expect(runStates(folder)).toEqual([]);
});

it('ignores and removes files of dead processes and files that are none', () => {
  writeRunState(folder, { ...STATE, pid: DEAD_PID });
  writeFileSync(join(folder, 'broken.json'), '{');
  writeRunState(folder, STATE);
  expect(runStates(folder)).toEqual([STATE]);
  expect(readdirSync(folder)).toHaveLength(1);
});

it('finds nothing where there is no folder', () => {
  expect(runStates(join(folder, 'none'))).toEqual([]);
});
