// One install at a time. `mkdir` is the atomic step; the owner touches the folder every second, so that a lock whose owner was killed
// can be told from one that is held.
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { SetupError } from './setup-error.mjs';

const TOUCH_MS = 1_000;
const STALE_MS = 30_000;
const POLL_MS = 200;
const MAX_WAIT_MS = 15 * 60_000;

/** Waits (at most 15 minutes) for the lock folder `path`, telling `say` once that it waits. */
export async function acquireLock(path, say) {
  const deadline = Date.now() + MAX_WAIT_MS;
  let told = false;
  while (!tryCreate(path)) {
    if (isStale(path)) {
      takeAway(path);
      continue;
    }
    if (Date.now() > deadline)
      throw new SetupError(`another install has held ${path} for ${MAX_WAIT_MS / 60_000} minutes; remove that folder if none runs`);
    if (!told) say(`another command (process ${readOwner(path)?.pids[0] ?? 'unknown'}) is installing the packages; waiting for it`);
    told = true;
    await delay(POLL_MS);
  }
  const timer = setInterval(() => touch(path), TOUCH_MS);
  timer.unref();
  return {
    /** A process that works under the lock: while it lives, the lock is held even if its owner was killed. */
    addProcess(pid) {
      writeOwner(path, [process.pid, pid]);
    },
    release() {
      clearInterval(timer);
      rmSync(path, { recursive: true, force: true });
    },
  };
}

function tryCreate(path) {
  try {
    mkdirSync(path);
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
  writeOwner(path, [process.pid]);
  return true;
}

function writeOwner(path, pids) {
  writeFileSync(`${path}/owner.json`, JSON.stringify({ pids, host: hostname() }));
}

function readOwner(path) {
  try {
    return JSON.parse(readFileSync(`${path}/owner.json`, 'utf8'));
  } catch {
    // Gone, or its owner is between mkdir and write: the folder's age decides.
    return null;
  }
}

function isStale(path) {
  const owner = readOwner(path);
  if (owner && owner.host === hostname()) return !owner.pids.some(isAlive);
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > STALE_MS;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code !== 'ESRCH';
  }
}

/** Renames before removing: of several waiters that saw the same stale lock only one gets it. */
function takeAway(path) {
  const grave = `${path}.${process.pid}`;
  try {
    renameSync(path, grave);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  // A waiter that was slow to judge may have caught the next owner's fresh lock: give that one back.
  if (isStale(grave)) rmSync(grave, { recursive: true, force: true });
  else renameSync(grave, path);
}

function touch(path) {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}
