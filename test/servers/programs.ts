/**
 * Servers that tests and benches talk to, as programs of this machine: on PATH or where daemons are, else from Debian when this is root on a
 * machine with apt. One that cannot be had is left out, and the reason said.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian's package of each. */
export const SERVER_PACKAGES = { 'redis-server': 'redis-server', 'nats-server': 'nats-server' } as const;
export type ServerProgram = keyof typeof SERVER_PACKAGES;
export const SERVER_PROGRAMS = Object.keys(SERVER_PACKAGES) as readonly ServerProgram[];

const INSTALL_LIMIT_MS = 180_000;
const INSTALLER: string = 'apt-get';

/** Where packages put daemons, which is not on the PATH of everybody. */
const FOLDERS_OF_DAEMONS = ['/usr/sbin', '/usr/local/sbin'];

/** Path of the program, or null when this machine has none. */
export function findServer(program: ServerProgram | 'openssl'): string | null {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return [...folders, ...FOLDERS_OF_DAEMONS].map((folder) => join(folder, program)).find(isExecutable) ?? null;
}

/** Path of the program; throws when there is none, which whoever calls has ruled out. */
export function requireServer(program: ServerProgram): string {
  const found = findServer(program);
  if (found === null) throw new Error(`${program} is not on PATH: install it (Debian: apt-get install ${SERVER_PACKAGES[program]})`);
  return found;
}

/** Installs what is missing. Null when it is there now, else why not. */
export function installServer(program: ServerProgram): string | null {
  if (findServer(program) !== null) return null;
  const name = SERVER_PACKAGES[program];
  const advice = `install it (Debian: apt-get install ${name})`;
  if (process.getuid?.() !== 0) return `${program} is not on PATH and this is not root: ${advice}`;
  process.stderr.write(`installing ${name} with apt-get (once)\n`);
  const install = () => apt('install', '-y', '-q', '--no-install-recommends', name);
  let failure = install();
  // The list of packages may be missing or older than the archive.
  if (failure !== null) failure = apt('update', '-q') ?? install();
  return findServer(program) === null ? `${program} cannot be installed (${failure ?? 'installed, but not on PATH'}): ${advice}` : null;
}

function apt(...args: string[]): string | null {
  const run = spawnSync(INSTALLER, args, {
    encoding: 'utf8',
    timeout: INSTALL_LIMIT_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (run.error) return run.error.message;
  return run.status === 0 ? null : (run.stderr.trim().split('\n').at(-1) ?? `exit code ${run.status}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us
  }
}
