// WebAssembly modules from their text in kernels/, each beside the file that loads it, so that it goes wherever src/ goes. Same text and same wabt (pinned by package-lock.json), same bytes.
import { readFileSync } from 'node:fs';
import loadWabt from 'wabt';
import { ROOT } from './launch.mjs';

const KERNELS = [{ source: 'kernels/blocks.wat', path: 'src/kv/directory/blocks.wasm' }];

/** Path and bytes of every module. Throws with file, line and column where a text is wrong. */
export async function builtKernels() {
  const wabt = await loadWabt();
  return KERNELS.map(({ source, path }) => {
    const module = wabt.parseWat(source, readFileSync(`${ROOT}/${source}`, 'utf8'));
    try {
      module.validate();
      return { path, source, bytes: Buffer.from(module.toBinary({}).buffer) };
    } finally {
      module.destroy();
    }
  });
}
