import type { Tokenizer, TokenizerSource } from '../port.ts';
import { bytes4Tokenizer } from '../sim/tokenizer.ts';

/**
 * The tokenizer that an engine of this machine uses, from what its EngineInfo says.
 * @throws what the loader throws for a missing or broken file
 */
export async function loadTokenizer(source: TokenizerSource): Promise<Tokenizer> {
  switch (source.kind) {
    case 'bytes4':
      return bytes4Tokenizer;
    case 'gguf': {
      // Libraries are loaded only here: a router of simulated engines never needs one.
      const { loadGgufTokenizer } = await import('../llamacpp/index.ts');
      return loadGgufTokenizer(source.path);
    }
    case 'huggingface': {
      const { loadHuggingFaceTokenizer } = await import('../huggingface/index.ts');
      return loadHuggingFaceTokenizer(source.path);
    }
  }
}
