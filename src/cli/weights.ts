import { accessSync, constants, statSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const BUILTIN_TINY = 'builtin:tiny';

export type WeightsFor = 'llamacpp' | 'vllm' | 'sglang';

/**
 * What an engine is given for a source: the file that holds the weights; for vllm and sglang the folder, or the name on the hub as it is. The
 * built-in model is written into the cache folder when it is not there yet.
 * @throws with a message for the user when there is no such file or folder, or it is no whole model.
 */
export function weightsPath(source: string, engine: WeightsFor, cacheFolder: string): Promise<string> {
  return engine !== 'llamacpp' ? modelFolder(source, cacheFolder) : ggufPath(source, cacheFolder);
}

/** As an engine's own `--model` names them: the built-in model by its name; whoever starts it by a path has looked at the file. */
export async function weightsOf(model: string, engine: WeightsFor, cacheFolder: string): Promise<string> {
  return model === BUILTIN_TINY ? weightsPath(model, engine, cacheFolder) : model;
}

async function ggufPath(source: string, cacheFolder: string): Promise<string> {
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

/** Without these vLLM reads none of our models. */
const MODEL_FILES = ['config.json', 'tokenizer.json', 'tokenizer_config.json'];

async function modelFolder(source: string, cacheFolder: string): Promise<string> {
  if (source === BUILTIN_TINY) {
    const { ensureTinyModelFolder } = await import('../engines/vllm/model/index.ts');
    return ensureTinyModelFolder(cacheFolder);
  }
  if (!/^\.{0,2}\//.test(source)) return source;
  const path = resolve(source);
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats?.isDirectory()) {
    const fault = stats ? `${path} is not a folder` : `there is no folder ${path}`;
    throw new Error(`${fault}: give one with a Hugging Face model, a name of the hub such as org/name, or ${BUILTIN_TINY}`);
  }
  const missing = MODEL_FILES.filter((name) => !statSync(join(path, name), { throwIfNoEntry: false })?.isFile());
  if (missing.length > 0) throw new Error(`${path} has no ${missing.join(', ')}: it is no Hugging Face model, or was not copied whole`);
  return path;
}
