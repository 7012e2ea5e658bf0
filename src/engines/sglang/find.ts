/** Where the Python is that has SGLang. */
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';

/**
 * `SLUICE_SGLANG`, else the `python3` on the path, as SGLang's own images have it.
 * @throws Error that says what to do when there is none
 */
export function findSglang(env: Readonly<Record<string, string | undefined>>): string {
  const given = env['SLUICE_SGLANG'];
  if (given) {
    const path = resolve(given);
    if (isExecutable(path)) return path;
    throw new Error(`SLUICE_SGLANG is ${given}: there is no program there; give the path of the python that has sglang, or unset it`);
  }
  const folders = (env['PATH'] ?? '').split(delimiter).filter(isAbsolute);
  const found = folders.map((folder) => join(folder, 'python3')).find(isExecutable);
  if (found !== undefined) return found;
  throw new Error('there is no python3 on the path: install sglang, and set SLUICE_SGLANG to the path of the python that has it');
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
