/**
 * One install of a folder at a time. The lock is a file with the processes that work under it; it is held while one of them lives, so
 * that pip, left behind by an installer that was killed, is waited for as well.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

export interface InstallLock {
  /** Another process that works under the lock from now on. */
  add(pid: number): void;
  release(): void;
}

/** Null while another holds it. */
export function tryLock(path: string): InstallLock | null {
  mkdirSync(dirname(path), { recursive: true });
  if (!create(path)) {
    if (holders(path).some(isAlive)) return null;
    takeAway(path);
    if (!create(path)) return null;
  }
  return {
    add(pid) {
      const whole = `${path}.${process.pid}.new`;
      writeFileSync(whole, JSON.stringify([process.pid, pid]));
      renameSync(whole, path);
    },
    release: () => rmSync(path, { force: true }),
  };
}

/** Processes that hold it, as far as the file says. */
export function holders(path: string): number[] {
  try {
    const list: unknown = JSON.parse(readFileSync(path, 'utf8'));
    return Array.isArray(list) ? list.filter((pid) => Number.isInteger(pid) && pid > 0) : [];
  } catch {
    // Gone meanwhile: nobody.
    return [];
  }
}

/** By linking a file that is whole, so that nobody sees it without its owner. */
function create(path: string): boolean {
  const whole = `${path}.${process.pid}.new`;
  writeFileSync(whole, JSON.stringify([process.pid]));
  try {
    linkSync(whole, path);
    return true;
  } catch (error) {
    if (isCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    rmSync(whole, { force: true });
  }
}

/** By rename: of several that saw the same dead owner only one takes it away; one that was slow gives a new owner's lock back. */
function takeAway(path: string): void {
  const grave = `${path}.${process.pid}.old`;
  try {
    renameSync(path, grave);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return;
    throw error;
  }
  if (holders(grave).some(isAlive)) renameSync(grave, path);
  else rmSync(grave, { force: true });
}

/** One that ended and that nobody has asked about yet does not count; where nobody reaps orphans such stay for good. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
