import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';

export const BUILTIN_TINY = 'builtin:tiny';

/**
 * The file that holds the weights of a source. The built-in model is written into the cache folder when it is not there yet.
 * @throws with a message for the user when there is no such file, or it is no whole GGUF.
 */
export async function weightsPath(source: string, cacheFolder: string): Promise<string> {
  if (source === BUILTIN_TINY) {
    const { ensureTinyModel } = await import('../engines/llamacpp/index.ts');
    return ensureTinyModel(cacheFolder);
  }
  const path = resolve(source);
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) throw new Error(`there is no file ${path}: give the path of a GGUF file, or ${BUILTIN_TINY}`);
  if (!stats.isFile()) throw new Error(`${path} is not a file: give the path of a GGUF file, or ${BUILTIN_TINY}`);
  accessSync(path, constants.R_OK);
  // A damaged file is told here, once, and not by every engine that starts with it.
  const { readGguf } = await import('../engines/llamacpp/index.ts');
  readGguf(path);
  return path;
}
