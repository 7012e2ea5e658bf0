/** A model folder without a model: the tokenizer that a front needs to make tokens of text. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { BYTE_LETTERS, byteLevelTokenizer } from '../../src/engines/huggingface/index.ts';
import { seededRandom } from './arrivals.ts';
import { prose } from './bodies.ts';

/** Dynamo's mocker writes tokens of 1,000 to 2,000 whatever the model; ids that the tokenizer does not know would become no text. */
const VOCABULARY = 2048;
/** Of a token of a prompt, at most: about what tokenizers of real models come to in English. */
const TOKEN_CHARACTERS = 4;

/** What a frontend wants of a model: a configuration and a tokenizer. No weights, since nothing is computed. */
export function writeModelFolder(folder: string): void {
  mkdirSync(folder);
  const files = {
    'config.json': {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_size: 256,
      intermediate_size: 512,
      num_attention_heads: 4,
      num_hidden_layers: 4,
      num_key_value_heads: 2,
      max_position_embeddings: 8192,
      vocab_size: VOCABULARY,
      bos_token_id: 0,
      eos_token_id: VOCABULARY - 1,
    },
    'tokenizer.json': tokenizer(),
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      chat_template: '{% for m in messages %}{{ m.content }}{% endfor %}',
    },
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(path.join(folder, name), JSON.stringify(content));
}

/** Byte-level BPE that cuts the words of our prompts into pieces of up to four characters. */
function tokenizer(): object {
  const merges = new Map<string, string>();
  for (const word of new Set(prose(10_000, seededRandom(1)).split(' '))) {
    const letters = Array.from(`Ġ${word}`);
    for (let start = 0; start < letters.length; start += TOKEN_CHARACTERS) {
      const piece = letters.slice(start, start + TOKEN_CHARACTERS);
      for (let length = 2; length <= piece.length; length += 1) {
        const whole = piece.slice(0, length).join('');
        if (!merges.has(whole)) merges.set(whole, `${piece.slice(0, length - 1).join('')} ${piece[length - 1]}`);
      }
    }
  }
  const known = [...BYTE_LETTERS, ...merges.keys()];
  const filled = [...known, ...Array.from({ length: VOCABULARY - known.length }, (_, index) => `w${index}Ġ`)];
  return byteLevelTokenizer({ tokens: filled, merges: [...merges.values()] });
}
