import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { allowedCores } from '../agent/claims.ts';
import { misplaced, setAffinity } from './affinity.ts';

const ALL = [0, 1, 2, 3];

describe('misplaced', () => {
  it('takes the first thread back, and lets those go that must not take turns with it', () => {
    const threads = [
      { id: 10, cores: [3] },
      { id: 11, cores: [1] },
      { id: 12, cores: ALL },
    ];
    expect(misplaced(10, threads, [1], ALL)).toEqual([
      { id: 10, cores: [1] },
      { id: 11, cores: ALL },
    ]);
  });

  it('leaves compute threads on their own processors', () => {
    const threads = [
      { id: 10, cores: [1] },
      { id: 11, cores: [2] },
    ];
    expect(misplaced(10, threads, [1, 2], ALL)).toEqual([]);
  });

  it('changes nothing without a binding, nor where there is nothing to choose', () => {
    expect(misplaced(10, [{ id: 10, cores: ALL }], [], ALL)).toEqual([]);
    expect(misplaced(10, [{ id: 11, cores: [0] }], [0], [0])).toEqual([]);
  });
});

it('binds a thread, and does not mind one that is gone', async () => {
  const child = spawn('sleep', ['60']);
  const gone = new Promise((resolve) => child.on('exit', resolve));
  const id = child.pid ?? 0;
  const last = allowedCores().slice(-1);
  expect(setAffinity({ id, cores: last })).toBe(true);
  expect(allowedCores(readFileSync(`/proc/${id}/status`, 'utf8'))).toEqual(last);
  expect(setAffinity({ id, cores: [1023] })).toBe(false);
  child.kill();
  await gone;
  expect(setAffinity({ id, cores: last })).toBe(true);
});
