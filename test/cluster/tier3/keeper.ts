/**
 * `node keeper.ts NAME FOLDER`: holds the namespaces of a node until its standard input ends, that is, until whoever started it lets go
 * or dies. Then everything in them is killed by one signal, and what the kernel does not take away with them is removed: the cgroups of
 * this name and FOLDER. The first line that it says is the process id of the first process of the namespaces.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { guard } from '../program.ts';

const CGROUPS = '/sys/fs/cgroup';
const POLL_MS = 20;
const START_WITHIN_MS = 20_000;
/** The kernel keeps a cgroup until the last of its processes is reaped. */
const REMOVE_WITHIN_MS = 60_000;

/**
 * First process of the namespaces: it reaps those whose parents are gone. Folders that programs of a node write to whatever they are told
 * are laid over, so that nothing comes through to this machine.
 */
const FIRST = `set -e
mount -t tmpfs tmpfs /run
for d in etc opt usr var; do
  mkdir -p "$1/over/$d/upper" "$1/over/$d/work"
  mount -t overlay -o "lowerdir=/$d,upperdir=$1/over/$d/upper,workdir=$1/over/$d/work" overlay "/$d"
done
touch "$1/mounted"
set +e
while :; do sleep 1000 & wait; done`;
const FLAGS = ['--net', '--mount', '--pid', '--cgroup', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];

/** Folders of a cgroup of this name in every hierarchy, or in the one of version 2. */
export function cgroupFolders(name: string): readonly string[] {
  const unified = existsSync(join(CGROUPS, 'cgroup.controllers'));
  const roots = unified ? [CGROUPS] : readdirSync(CGROUPS).map((hierarchy) => join(CGROUPS, hierarchy));
  return roots.filter((root) => statSync(root).isDirectory()).map((root) => join(root, name));
}

async function keep(name: string, folder: string): Promise<void> {
  const [program, ...words] = [...guard(), 'unshare', ...FLAGS, 'sh', '-c', FIRST, 'sh', folder];
  const holder = spawn(program, words, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise<void>((resolve) => {
    holder.on('exit', () => resolve());
    holder.on('error', () => resolve());
  });
  const released = new Promise<void>((resolve) => process.stdin.on('end', resolve).on('error', resolve).resume());
  const first = holder.pid === undefined ? null : await firstProcess(holder.pid, join(folder, 'mounted'));
  if (first !== null) process.stdout.write(`${first}\n`);
  else process.stderr.write('no namespaces: they need root with CAP_SYS_ADMIN, and overlay mounts\n');
  await Promise.race([released, ended]);
  if (first !== null) killIfThere(first);
  else holder.kill('SIGKILL');
  await ended;
  for (const root of cgroupFolders(name)) await insist(`cgroup ${root}`, () => removeCgroup(root));
  await insist(folder, () => rmSync(folder, { recursive: true, force: true }));
}

/** The only child of `unshare`, once it has set up what it holds. */
async function firstProcess(parent: number, mounted: string): Promise<number | null> {
  const deadline = performance.now() + START_WITHIN_MS;
  while (performance.now() < deadline && existsSync(`/proc/${parent}`)) {
    if (existsSync(mounted)) {
      const [child] = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ');
      return Number(child) || null;
    }
    await delay(POLL_MS);
  }
  return null;
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const one of readdirSync(folder, { withFileTypes: true })) if (one.isDirectory()) removeCgroup(join(folder, one.name));
  rmdirSync(folder);
}

async function insist(what: string, remove: () => void): Promise<void> {
  const deadline = performance.now() + REMOVE_WITHIN_MS;
  for (;;) {
    try {
      remove();
      return;
    } catch (error) {
      if (performance.now() > deadline) {
        process.stderr.write(`${what} cannot be removed: ${String(error)}\n`);
        process.exitCode = 1;
        return;
      }
    }
    await delay(POLL_MS);
  }
}

if (import.meta.main) {
  const [name = '', folder = ''] = process.argv.slice(2);
  await keep(name, folder);
}
