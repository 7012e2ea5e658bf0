/** What a model folder of the Hugging Face kind says about KV, for `EngineInfo`. */
import { createHash, type Hash } from 'node:crypto';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { KvIdentity } from '../../kv/index.ts';
import { SluiceError } from '../../shared/index.ts';

export interface ModelDescription {
  /** Digest of configuration and weights. */
  readonly model: string;
  /** Digest of all that turns text into tokens. */
  readonly tokenizer: string;
  readonly rope: string;
  /** Element type of KV. */
  readonly dtype: string;
  readonly bytesPerToken: number;
  readonly vocabulary: number;
}

type Config = Readonly<Record<string, unknown>>;

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja', 'special_tokens_map.json'];
const WEIGHTS = /\.(?:safetensors|bin|pt|gguf)$/;
/** Of each end of a file of weights: its header and some of the weights. Reading all of them would take minutes. */
const SAMPLE_BYTES = 64 * 1024;
const MAX_CONFIG_BYTES = 4 * 2 ** 20;

/**
 * @param dtype as the engine is told: `auto` follows the model.
 * @throws SluiceError invalid_request when the folder has no usable `config.json` or `tokenizer.json`
 */
export async function describeModel(folder: string, dtype: string): Promise<ModelDescription> {
  const config = await readConfig(folder);
  const text = isRecord(config['text_config']) ? { ...config, ...config['text_config'] } : config;
  const element = elementOf(text, dtype);
  return {
    model: await digestOfWeights(folder, config),
    tokenizer: await digestOfTokenizer(folder),
    rope: ropeOf(text),
    dtype: element,
    bytesPerToken: elementsPerToken(text) * (element === 'float32' ? 4 : 2),
    vocabulary: number(text['vocab_size']) ?? 1,
  };
}

/** What must be equal for blocks to be interchangeable; engines hand KV over only between equal versions. */
export function identityOf(
  { model, tokenizer, rope, dtype }: ModelDescription,
  { revision, layout, blockTokens }: { revision: string; layout: string; blockTokens: number },
): KvIdentity {
  return { model, revision, tokenizer, rope, adapter: '', dtype, layout, blockTokens };
}

/** K and V of all layers for one token; for latent attention, the latent and the part that carries positions. Pure. */
export function elementsPerToken(config: Config): number {
  const layers = number(config['num_hidden_layers']) ?? 1;
  const latent = number(config['kv_lora_rank']);
  if (latent !== null) return layers * (latent + (number(config['qk_rope_head_dim']) ?? 0));
  const heads = number(config['num_attention_heads']) ?? 1;
  const headSize = number(config['head_dim']) ?? (number(config['hidden_size']) ?? heads) / heads;
  return 2 * layers * (number(config['num_key_value_heads']) ?? heads) * headSize;
}

/** `auto` takes the type of the weights, but halves 32-bit ones. Pure. */
export function elementOf(config: Config, dtype: string): string {
  if (dtype !== 'auto') return dtype;
  const own = config['dtype'] ?? config['torch_dtype'];
  return own === 'float16' || own === 'bfloat16' ? own : 'bfloat16';
}

/** RoPE's numbers as one string. Pure. */
export function ropeOf(config: Config): string {
  const { rope_theta, rope_scaling, rope_parameters, partial_rotary_factor } = config;
  return JSON.stringify([rope_theta ?? null, rope_scaling ?? null, rope_parameters ?? null, partial_rotary_factor ?? null]);
}

async function readConfig(folder: string): Promise<Config> {
  const path = join(folder, 'config.json');
  try {
    const { size } = await stat(path);
    if (size > MAX_CONFIG_BYTES) throw new Error(`it has ${size} bytes`);
    const parsed: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (isRecord(parsed)) return parsed;
    throw new Error('it is no JSON object');
  } catch (cause) {
    throw unusable(path, cause);
  }
}

async function digestOfTokenizer(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of TOKENIZER_FILES) {
    const path = join(folder, name);
    try {
      hash.update(name).update(
        createHash('sha256')
          .update(await readFile(path))
          .digest(),
      );
    } catch (cause) {
      if (name === 'tokenizer.json') throw unusable(path, cause);
      // The other ones are not in every model.
    }
  }
  return hash.digest('hex').slice(0, 32);
}

async function digestOfWeights(folder: string, config: Config): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(config));
  const names = (await readdir(folder)).filter((name) => WEIGHTS.test(name)).sort();
  for (const name of names) await addEnds(hash, join(folder, name));
  return hash.digest('hex').slice(0, 32);
}

async function addEnds(hash: Hash, path: string): Promise<void> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    hash.update(`${basename(path)} ${size} `);
    const sample = Buffer.alloc(Math.min(size, SAMPLE_BYTES));
    for (const position of [0, Math.max(0, size - SAMPLE_BYTES)]) {
      const { bytesRead } = await file.read(sample, 0, sample.length, position);
      hash.update(sample.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

function unusable(path: string, cause: unknown): SluiceError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SluiceError(
    'invalid_request',
    `${path} cannot be used (${why}): the model must be a complete folder of the Hugging Face kind`,
    {
      param: 'model.source',
      cause,
    },
  );
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : null;
}

function isRecord(value: unknown): value is Config {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
