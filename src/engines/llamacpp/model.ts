/** A GGUF model in memory, with what its file says of itself. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { KvIdentity } from '../../kv/index.ts';
import { SluiceError } from '../../shared/index.ts';
import { type GgufHead, readGguf } from './gguf.ts';
import { type Library, openLibrary, type Pointer } from './library.ts';

export interface Model {
  readonly library: Library;
  readonly pointer: Pointer;
  readonly head: GgufHead;
  readonly vocabulary: Pointer;
  readonly vocabularySize: number;
  /** Tokens of context that the model was made for. */
  readonly trainedContext: number;
  close(): void;
}

/**
 * Loads a model, or only its vocabulary (milliseconds instead of seconds, no weights in memory).
 * Throws `invalid_request` (param `model.source`) on a missing, damaged or unsupported file.
 */
export function loadModel(path: string, options: { vocabularyOnly: boolean }): Model {
  const head = readGguf(path);
  const library = openLibrary();
  const pointer = library.loadModel(path, { ...library.modelDefaults(), n_gpu_layers: 0, vocab_only: options.vocabularyOnly });
  if (!pointer) {
    const why = library.recentLog().at(-1) ?? 'no reason given';
    throw new SluiceError('invalid_request', `llama.cpp refuses the model file ${path}: ${why}`, { param: 'model.source' });
  }
  const vocabulary = library.vocabulary(pointer);
  const architecture = String(head.metadata.get('general.architecture') ?? 'unknown');
  return {
    library,
    pointer,
    head,
    vocabulary,
    vocabularySize: library.vocabularySize(vocabulary),
    trainedContext: Number(head.metadata.get(`${architecture}.context_length`) ?? 2048),
    close: () => library.freeModel(pointer),
  };
}

const SAMPLE_BYTES = 1 << 16;
const SAMPLES = 64;

/**
 * Names the weights: sha256 over the head, the length and 64 samples of 64 KiB spread over the file. Reading a 40 GB file at every
 * start would cost a minute; two different models that agree in all of these do not occur by accident.
 */
export function weightsFingerprint(path: string, head: GgufHead): string {
  const hash = createHash('sha256').update(head.headDigest).update(String(head.fileBytes));
  const buffer = Buffer.alloc(SAMPLE_BYTES);
  const fd = openSync(path, 'r');
  try {
    for (let i = 0; i < SAMPLES; i++) {
      const at = Math.floor((Math.max(0, head.fileBytes - SAMPLE_BYTES) * i) / (SAMPLES - 1));
      hash.update(buffer.subarray(0, readSync(fd, buffer, 0, SAMPLE_BYTES, at)));
    }
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex').slice(0, 32);
}

/** Names the tokenizer and chat template: sha256 over every `tokenizer.*` entry. */
export function tokenizerFingerprint(head: GgufHead): string {
  const hash = createHash('sha256');
  for (const [key, value] of [...head.metadata].filter(([key]) => key.startsWith('tokenizer.')).sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(key).update(JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? `${item}n` : item)));
  }
  return hash.digest('hex').slice(0, 32);
}

/** What names the KV that an engine makes of this model. */
export function kvIdentity(model: Model, path: string, { layout, blockTokens }: Pick<KvIdentity, 'layout' | 'blockTokens'>): KvIdentity {
  return {
    model: weightsFingerprint(path, model.head),
    revision: '',
    tokenizer: tokenizerFingerprint(model.head),
    rope: ropeSettings(model.head),
    adapter: '',
    dtype: 'f16',
    layout,
    blockTokens,
  };
}

/** Everything that decides how positions enter K. */
export function ropeSettings(head: GgufHead): string {
  const entries = [...head.metadata].filter(([key]) => key.includes('.rope.')).map(([key, value]) => `${key}=${String(value)}`);
  return entries.sort().join(',');
}
