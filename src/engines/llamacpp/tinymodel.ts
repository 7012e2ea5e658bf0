/**
 * The embedded default model: a llama architecture with random weights, written here so that nothing has to be downloaded. It
 * speaks gibberish, but it is a real transformer: prefill is quadratic in the prompt, decode reads all KV, and a wrong KV block
 * changes what it says. The same options give the same bytes on every machine: only integer arithmetic and +, -, *, / and sqrt of
 * IEEE 754 take part.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BYTE_LETTERS } from '../huggingface/bytealphabet.ts';
import { normalDeviates, type TinyModelOptions } from '../randomweights.ts';
import { encodeMetadata, encodeTensorTable, type MetadataEntry, padding, type TensorSpec } from './ggufwriter.ts';

/** 1,024 bytes of KV per token in f16, about 6 MB of weights. */
export const TINY_MODEL: TinyModelOptions = {
  layers: 4,
  hidden: 256,
  heads: 8,
  kvHeads: 2,
  feedForward: 704,
  contextTokens: 131_072,
  seed: 1,
};

const MERGES = (
  'Ġ t|h e|Ġ a|i n|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|Ġ o|e n|Ġ c|i t|i s|a n|o r|e s|Ġ b|e d|Ġ f|in g|Ġ p|o u|Ġa n|a l|a r|Ġt o|Ġ m|Ġo f|' +
  'Ġ in|Ġ d|Ġ h|Ġan d|i c|a s|l e|Ġt h|i on|o m|l l|en t|Ġ n|Ġ l|s t|Ġ re|v e|Ġ e|r o|l y|Ġb e|Ġ g|Ġ T|c t|Ġ S|i d|o t|Ġ I|u t|e t|Ġ A|Ġ is|Ġ on'
).split('|');

const TEMPLATE =
  "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}" +
  '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}';

const TOKEN_NORMAL = 1;
const TOKEN_CONTROL = 3;

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly merges: readonly string[];
  readonly bos: number;
  readonly eos: number;
  readonly endOfTurn: number;
}

/** GPT-2's byte alphabet plus a few merges plus four control tokens: every string tokenizes, and back. */
function vocabulary(): Vocabulary {
  const tokens = [...BYTE_LETTERS];
  for (const merge of MERGES) tokens.push(merge.replace(' ', ''));
  const types = tokens.map(() => TOKEN_NORMAL);
  const control = (text: string) => {
    types.push(TOKEN_CONTROL);
    return tokens.push(text) - 1;
  };
  const bos = control('<|bos|>');
  const eos = control('<|endoftext|>');
  control('<|im_start|>');
  return { tokens, types, merges: MERGES, bos, eos, endOfTurn: control('<|im_end|>') };
}

function metadata(options: TinyModelOptions, vocab: Vocabulary): MetadataEntry[] {
  return [
    ['general.architecture', 'string', 'llama'],
    ['general.name', 'string', `sluice-tiny-${options.layers}x${options.hidden}`],
    ['general.file_type', 'u32', 1],
    ['general.alignment', 'u32', 32],
    ['llama.vocab_size', 'u32', vocab.tokens.length],
    ['llama.context_length', 'u32', options.contextTokens],
    ['llama.embedding_length', 'u32', options.hidden],
    ['llama.block_count', 'u32', options.layers],
    ['llama.feed_forward_length', 'u32', options.feedForward],
    ['llama.attention.head_count', 'u32', options.heads],
    ['llama.attention.head_count_kv', 'u32', options.kvHeads],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['llama.rope.dimension_count', 'u32', options.hidden / options.heads],
    ['llama.rope.freq_base', 'f32', 10_000],
    ['tokenizer.ggml.model', 'string', 'gpt2'],
    ['tokenizer.ggml.pre', 'string', 'gpt-2'],
    ['tokenizer.ggml.tokens', 'strings', vocab.tokens],
    ['tokenizer.ggml.token_type', 'i32s', vocab.types],
    ['tokenizer.ggml.merges', 'strings', vocab.merges],
    ['tokenizer.ggml.bos_token_id', 'u32', vocab.bos],
    ['tokenizer.ggml.eos_token_id', 'u32', vocab.eos],
    ['tokenizer.ggml.eot_token_id', 'u32', vocab.endOfTurn],
    ['tokenizer.ggml.add_bos_token', 'bool', true],
    ['tokenizer.chat_template', 'string', TEMPLATE],
  ];
}

/** A tensor and how its rows are drawn: normal with this deviation, or ones for a norm. */
interface Draw extends TensorSpec {
  readonly deviation: number | null;
  /** Factor of row `row`; 1 when absent. */
  readonly rowScale?: (row: number) => number;
}

function tensors(options: TinyModelOptions, vocab: Vocabulary): Draw[] {
  const { hidden, feedForward } = options;
  const kv = (hidden / options.heads) * options.kvHeads;
  const unit = 1 / Math.sqrt(hidden);
  const weight = (name: string, dims: number[], deviation: number): Draw => ({ name, dims, type: 'f16', deviation });
  const norm = (name: string): Draw => ({ name, dims: [hidden], type: 'f32', deviation: null });
  // Output rows of bytes that are no printable ASCII, and of control tokens, are small: they are seldom sampled, so text stays readable.
  const readable = (row: number) => ((row >= 32 && row < 127) || (row >= 256 && row < vocab.bos) ? 1 : 0.1);
  const layers = Array.from({ length: options.layers }, (_, i) => [
    norm(`blk.${i}.attn_norm.weight`),
    weight(`blk.${i}.attn_q.weight`, [hidden, hidden], 2 * unit),
    weight(`blk.${i}.attn_k.weight`, [hidden, kv], 2 * unit),
    weight(`blk.${i}.attn_v.weight`, [hidden, kv], 2 * unit),
    weight(`blk.${i}.attn_output.weight`, [hidden, hidden], 2 * unit),
    norm(`blk.${i}.ffn_norm.weight`),
    weight(`blk.${i}.ffn_gate.weight`, [hidden, feedForward], unit),
    weight(`blk.${i}.ffn_up.weight`, [hidden, feedForward], unit),
    weight(`blk.${i}.ffn_down.weight`, [feedForward, hidden], 1 / Math.sqrt(feedForward)),
  ]).flat();
  return [
    weight('token_embd.weight', [hidden, vocab.tokens.length], 1),
    norm('output_norm.weight'),
    { ...weight('output.weight', [hidden, vocab.tokens.length], 3 * unit), rowScale: readable },
    ...layers,
  ];
}

/** The model as GGUF bytes. Throws RangeError when `hidden` is no multiple of 2·heads. */
export function tinyModelBytes(options: TinyModelOptions): Uint8Array {
  if (options.hidden % (2 * options.heads) !== 0) throw new RangeError('hidden must be a multiple of 2 * heads');
  const vocab = vocabulary();
  const draws = tensors(options, vocab);
  const parts: Uint8Array[] = [encodeMetadata(draws.length, metadata(options, vocab)), encodeTensorTable(draws)];
  const headBytes = parts.reduce((sum, part) => sum + part.length, 0);
  parts.push(new Uint8Array(padding(headBytes)));
  const normal = normalDeviates(options.seed);
  for (const draw of draws) {
    const values = fill(draw, normal);
    parts.push(values, new Uint8Array(padding(values.length)));
  }
  return Buffer.concat(parts);
}

function fill(draw: Draw, normal: () => number): Uint8Array {
  const elements = draw.dims.reduce((product, dim) => product * dim, 1);
  const { deviation, rowScale } = draw;
  if (deviation === null) return new Uint8Array(new Float32Array(elements).fill(1).buffer);
  const rowLength = draw.dims[0] ?? elements;
  const values = new Float16Array(elements);
  for (let i = 0; i < elements; i++) values[i] = normal() * deviation * (rowScale ? rowScale(Math.floor(i / rowLength)) : 1);
  return new Uint8Array(values.buffer);
}

/**
 * Path of the built-in model inside `folder`, written there if it is missing. Safe with several processes at once: the file
 * appears whole, by rename, under a name that carries its options.
 */
export function ensureTinyModel(folder: string, options: TinyModelOptions = TINY_MODEL): string {
  const digest = createHash('sha256').update(JSON.stringify(options)).update(TEMPLATE).digest('hex').slice(0, 12);
  const path = join(folder, `sluice-tiny-${digest}.gguf`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(temporary, tinyModelBytes(options), { flush: true });
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
  return path;
}
