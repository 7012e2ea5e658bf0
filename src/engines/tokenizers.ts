import type { Tokenizer, TokenizerSource } from './port.ts';
import { bytes4Tokenizer } from './sim/index.ts';

/**
 * The tokenizer that an engine of this machine uses, from what its EngineInfo says.
 * @throws what the GGUF loader throws for a missing or broken file
 */
export async function loadTokenizer(source: TokenizerSource): Promise<Tokenizer> {
  switch (source.kind) {
    case 'bytes4':
      return bytes4Tokenizer;
    case 'gguf': {
      // Only here is the engine library loaded: a router of simulated engines never needs it.
      const { loadGgufTokenizer } = await import('./llamacpp/index.ts');
      return loadGgufTokenizer(source.path);
    }
    case 'huggingface':
      throw new Error('tokenizers of Hugging Face models are not read yet');
  }
}
