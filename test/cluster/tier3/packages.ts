/** What a node needs of Debian: found on this machine, or installed where root and apt allow it. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Environment } from '../binaries.ts';

export const CNI_FOLDER = '/usr/lib/cni';

/** Package -> a file of each that it brings and that is used. A name without a folder is looked for on PATH. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  containerd: ['containerd', 'containerd-shim-runc-v2', 'ctr'],
  runc: ['runc'],
  'containernetworking-plugins': ['bridge', 'host-local', 'loopback', 'portmap'].map((name) => join(CNI_FOLDER, name)),
  iptables: ['iptables', 'iptables-save', 'iptables-restore'],
  ipset: ['ipset'],
  iproute2: ['ip'],
  'util-linux': ['unshare', 'nsenter', 'mount'],
};
/** Shells of users do not always name them on PATH. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin'];
const INSTALL_WITHIN_MS = 300_000;

/** Names of packages of which something is not here. */
export function missingPackages(env: Environment): readonly string[] {
  const folders = [...(env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS].filter((folder) => folder !== '');
  const isThere = (name: string) => (name.startsWith('/') ? [name] : folders.map((folder) => join(folder, name))).some(isExecutable);
  return Object.entries(PACKAGES).flatMap(([name, files]) => (files.every(isThere) ? [] : [name]));
}

/** Why no node can be started here, in one line; null when one can. Installs packages when it may. */
export function prepareMachine(env: Environment, say: (line: string) => void): string | null {
  if (process.platform !== 'linux') return 'a node needs Linux';
  if (process.getuid?.() !== 0) return 'a node needs root: it makes namespaces, mounts and cgroups';
  const wanted = missingPackages(env);
  if (wanted.length === 0) return null;
  say(`installing ${wanted.join(', ')} by apt-get`);
  // A service that is installed would start: nothing of this is to run outside of a test.
  const noninteractive = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const options = { encoding: 'utf8', timeout: INSTALL_WITHIN_MS, env: noninteractive } as const;
  const install = () => spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...wanted], options);
  let done = install();
  if (done.status !== 0 && done.error === undefined && spawnSync('apt-get', ['update'], options).status === 0) done = install();
  const missing = missingPackages(env);
  if (missing.length === 0) return null;
  const why = done.error ? 'there is no apt-get' : done.stderr.trim().split('\n').at(-1) || 'apt-get brought other files';
  return `a node needs ${missing.join(', ')} (names of Debian packages): ${why}`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not there
  }
}
