/**
 * The built-in model as a Hugging Face folder: what `builtin:tiny` means to vLLM. A llama architecture with random weights and a token
 * for each byte, written here so that nothing has to be downloaded and no Python is needed. It speaks gibberish, but it is a real
 * transformer: a wrong KV block changes what it says. The same options give the same bytes on every machine.
 *
 * The weights are float32 and are meant to be run so: in bfloat16 two tokens are often equally likely, and which one is taken then
 * depends on what else is in the batch.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BYTE_LETTERS } from '../../huggingface/bytealphabet.ts';
import { byteLevelTokenizer } from '../../huggingface/bytelevel.ts';
import { normalDeviates, type TinyModelOptions } from '../../randomweights.ts';
import { safetensorsBytes, type Tensor } from './safetensors.ts';

/** 4,096 bytes of KV per token in float32, about 10 MB of weights. */
export const TINY_MODEL: TinyModelOptions = {
  layers: 4,
  hidden: 256,
  heads: 4,
  kvHeads: 2,
  feedForward: 512,
  contextTokens: 8_192,
  seed: 1,
};

/** Each byte is a token of its number; these follow. */
const SPECIAL_TOKENS = ['<|bos|>', '<|endoftext|>', '<|im_start|>', '<|im_end|>'];
const VOCABULARY = [...BYTE_LETTERS, ...SPECIAL_TOKENS];
const BOS = VOCABULARY.indexOf('<|bos|>');
const EOS = VOCABULARY.indexOf('<|endoftext|>');
const END_OF_TURN = VOCABULARY.indexOf('<|im_end|>');

const TEMPLATE =
  "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}" +
  '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}';

function config(options: TinyModelOptions): object {
  return {
    architectures: ['LlamaForCausalLM'],
    attention_bias: false,
    attention_dropout: 0,
    bos_token_id: BOS,
    dtype: 'float32',
    eos_token_id: EOS,
    head_dim: options.hidden / options.heads,
    hidden_act: 'silu',
    hidden_size: options.hidden,
    intermediate_size: options.feedForward,
    max_position_embeddings: options.contextTokens,
    mlp_bias: false,
    model_type: 'llama',
    num_attention_heads: options.heads,
    num_hidden_layers: options.layers,
    num_key_value_heads: options.kvHeads,
    rms_norm_eps: 1e-5,
    rope_parameters: { rope_theta: 10_000, rope_type: 'default' },
    tie_word_embeddings: false,
    use_cache: true,
    vocab_size: VOCABULARY.length,
  };
}

function tokenizer(): object {
  const bos = SPECIAL_TOKENS[0] ?? '';
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return byteLevelTokenizer({
    tokens: VOCABULARY,
    addedTokens: SPECIAL_TOKENS.map((content) => ({ id: VOCABULARY.indexOf(content), content, ...flags })),
    postProcessor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { [bos]: { id: bos, ids: [BOS], tokens: [bos] } },
    },
  });
}

function tokenizerConfig(options: TinyModelOptions): object {
  return {
    bos_token: VOCABULARY[BOS],
    eos_token: VOCABULARY[EOS],
    chat_template: TEMPLATE,
    clean_up_tokenization_spaces: false,
    model_max_length: options.contextTokens,
    tokenizer_class: 'PreTrainedTokenizerFast',
  };
}

/** All files but the weights, by name. */
function smallFiles(options: TinyModelOptions): Readonly<Record<string, string>> {
  const json = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
  return {
    'config.json': json(config(options)),
    'generation_config.json': json({ bos_token_id: BOS, eos_token_id: [EOS, END_OF_TURN] }),
    'tokenizer.json': json(tokenizer()),
    'tokenizer_config.json': json(tokenizerConfig(options)),
  };
}

/** The weights as the bytes of a safetensors file. @throws RangeError when `hidden` is no multiple of 2·heads */
export function tinyWeights(options: TinyModelOptions): Uint8Array {
  const { hidden, heads, kvHeads, feedForward, layers } = options;
  if (hidden % (2 * heads) !== 0) throw new RangeError('hidden must be a multiple of 2 * heads');
  const normal = normalDeviates(options.seed);
  const unit = 1 / Math.sqrt(hidden);
  const kv = (hidden / heads) * kvHeads;
  const drawn = (name: string, [rows, columns]: readonly [number, number], scale: (row: number) => number): Tensor => {
    const values = Float32Array.from({ length: rows * columns }, (_, at) => normal() * scale(Math.floor(at / columns)));
    return { name, shape: [rows, columns], values };
  };
  const weight = (name: string, shape: readonly [number, number], deviation: number) => drawn(name, shape, () => deviation);
  const norm = (name: string): Tensor => ({ name, shape: [hidden], values: new Float32Array(hidden).fill(1) });
  // Bytes that are no printable ASCII, and control tokens, are seldom the most likely: text stays readable, answers do not end early.
  const readable = (token: number) => (token >= 32 && token < 127 ? 3 : 0.3) * unit;
  const layer = (index: number): Tensor[] => {
    const name = (part: string) => `model.layers.${index}.${part}.weight`;
    return [
      norm(name('input_layernorm')),
      weight(name('self_attn.q_proj'), [hidden, hidden], 2 * unit),
      weight(name('self_attn.k_proj'), [kv, hidden], 2 * unit),
      weight(name('self_attn.v_proj'), [kv, hidden], 2 * unit),
      weight(name('self_attn.o_proj'), [hidden, hidden], 2 * unit),
      norm(name('post_attention_layernorm')),
      weight(name('mlp.gate_proj'), [feedForward, hidden], unit),
      weight(name('mlp.up_proj'), [feedForward, hidden], unit),
      weight(name('mlp.down_proj'), [hidden, feedForward], 1 / Math.sqrt(feedForward)),
    ];
  };
  return safetensorsBytes([
    weight('model.embed_tokens.weight', [VOCABULARY.length, hidden], 1),
    ...Array.from({ length: layers }, (_, index) => layer(index)).flat(),
    norm('model.norm.weight'),
    drawn('lm_head.weight', [VOCABULARY.length, hidden], readable),
  ]);
}

/**
 * Folder of the built-in model inside `cacheFolder`, written there if it is missing. Safe with several processes at once: the folder
 * appears whole, by rename, under a name that carries its content.
 */
export function ensureTinyModelFolder(cacheFolder: string, options: TinyModelOptions = TINY_MODEL): string {
  const files = smallFiles(options);
  const digest = createHash('sha256')
    .update(JSON.stringify([options, files]))
    .digest('hex')
    .slice(0, 12);
  const path = join(cacheFolder, `sluice-tiny-vllm-${digest}`);
  if (existsSync(path)) return path;
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    mkdirSync(temporary, { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(temporary, name), text, { flush: true });
    writeFileSync(join(temporary, 'model.safetensors'), tinyWeights(options), { flush: true });
    moveInto(temporary, path);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return path;
}

/** A folder that another process put there meanwhile is as good. */
function moveInto(temporary: string, path: string): void {
  try {
    renameSync(temporary, path);
  } catch (error) {
    if (!existsSync(path)) throw error;
  }
}
