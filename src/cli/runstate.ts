/**
 * One small file per running deployment, so that `explain` and `top` find its router. A file whose process is gone is ignored and
 * removed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface RunState {
  readonly name: string;
  readonly pid: number;
  readonly url: string;
  readonly adminUrl: string;
}

/** Written whole or not at all. @returns the path. */
export function writeRunState(folder: string, state: RunState): string {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${state.name}-${state.pid}.json`);
  writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return path;
}

export function removeRunState(path: string): void {
  rmSync(path, { force: true });
}

/** Runs that live, by name. */
export function runStates(folder: string): RunState[] {
  if (!existsSync(folder)) return [];
  const states: RunState[] = [];
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
    const path = join(folder, file);
    const state = readRunState(path);
    if (state && isAlive(state.pid)) states.push(state);
    else removeRunState(path);
  }
  return states.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readRunState(path: string): RunState | null {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return isRunState(value) ? value : null;
  } catch {
    return null; // removed meanwhile, or not ours: either way there is no run to find here
  }
}

function isRunState(value: unknown): value is RunState {
  if (typeof value !== 'object' || value === null) return false;
  const { name, pid, url, adminUrl } = value as Partial<Record<keyof RunState, unknown>>;
  return typeof name === 'string' && typeof pid === 'number' && typeof url === 'string' && typeof adminUrl === 'string';
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'; // somebody else's process: alive
  }
}
