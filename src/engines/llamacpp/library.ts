/**
 * llama.cpp as node-llama-cpp packages it, called through koffi.
 *
 * Why not node-llama-cpp's own API: it can move a sequence's state only through files and hides the batch, while hand-off needs state
 * as memory and exact tokens need control over batch shapes (see context.ts). The struct layouts below are those of the one pinned
 * release; `checkLayout` compares the library's defaults with what that release has, so a mismatch is an error at start and not
 * silent damage.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import koffi, { type LibraryHandle } from 'koffi';
import { SluiceError } from '../../shared/index.ts';

const RELEASE = 'v0.5.0';

/** An address in native memory. */
export type Pointer = bigint | object;

export interface Batch {
  n_tokens: number;
  token: Pointer;
  embd: Pointer;
  pos: Pointer;
  n_seq_id: Pointer;
  seq_id: Pointer;
  logits: Pointer;
}

type ParamFields = Record<string, unknown>;

export interface Library {
  modelDefaults(): ParamFields;
  contextDefaults(): ParamFields;
  loadModel(path: string, params: ParamFields): Pointer | null;
  freeModel(model: Pointer): void;
  newContext(model: Pointer, params: ParamFields): Pointer | null;
  freeContext(context: Pointer): void;
  vocabulary(model: Pointer): Pointer;
  vocabularySize(vocabulary: Pointer): number;
  isEndOfGeneration(vocabulary: Pointer, token: number): boolean;
  tokenize(
    vocabulary: Pointer,
    text: Uint8Array,
    length: number,
    out: Int32Array,
    capacity: number,
    addSpecial: boolean,
    parseSpecial: boolean,
  ): number;
  piece(vocabulary: Pointer, token: number, out: Uint8Array, capacity: number, leftStrip: number, special: boolean): number;
  tokenText(vocabulary: Pointer, token: number): string | null;
  bos(vocabulary: Pointer): number;
  eos(vocabulary: Pointer): number;
  chatTemplate(model: Pointer, name: null): string | null;
  newBatch(tokens: number, embeddings: number, sequences: number): Batch;
  freeBatch(batch: Batch): void;
  /** Runs on a worker thread; the callback gets llama_decode's return value. */
  decode(context: Pointer, batch: Batch): Promise<number>;
  logits(context: Pointer, index: number): Pointer | null;
  memory(context: Pointer): Pointer;
  removeTokens(memory: Pointer, sequence: number, from: number, to: number): boolean;
  stateSize(context: Pointer, sequence: number): number;
  readState(context: Pointer, out: Uint8Array, size: number, sequence: number): number;
  writeState(context: Pointer, state: Uint8Array, size: number, sequence: number): number;
  layers(model: Pointer): number;
  kvHeads(model: Pointer): number;
  /** A view of native memory; valid as long as the memory is. */
  view(pointer: Pointer, bytes: number): ArrayBuffer;
  /** The library's last warnings and errors, newest last. */
  recentLog(): readonly string[];
}

const MODEL_PARAMS = {
  devices: 'void *',
  tensor_buft_overrides: 'void *',
  n_gpu_layers: 'int',
  split_mode: 'int',
  load_mode: 'int',
  lazy_mode: 'int',
  main_gpu: 'int',
  tensor_split: 'void *',
  progress_callback: 'void *',
  progress_callback_user_data: 'void *',
  kv_overrides: 'void *',
  vocab_only: 'bool',
  check_tensors: 'bool',
  use_extra_bufts: 'bool',
  no_host: 'bool',
  no_alloc: 'bool',
  load_mtp: 'bool',
};

const CONTEXT_PARAMS = {
  n_ctx: 'uint32',
  n_batch: 'uint32',
  n_ubatch: 'uint32',
  n_seq_max: 'uint32',
  n_rs_seq: 'uint32',
  n_outputs_max: 'uint32',
  n_outputs_max_per_seq: 'uint32',
  n_threads: 'int',
  n_threads_batch: 'int',
  ctx_type: 'int',
  rope_scaling_type: 'int',
  pooling_type: 'int',
  attention_type: 'int',
  flash_attn_type: 'int',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32',
  defrag_thold: 'float',
  cb_eval: 'void *',
  cb_eval_user_data: 'void *',
  type_k: 'int',
  type_v: 'int',
  abort_callback: 'void *',
  abort_callback_data: 'void *',
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: 'void *',
  n_samplers: 'size_t',
  ctx_other: 'void *',
};

const BATCH = { n_tokens: 'int', token: 'void *', embd: 'void *', pos: 'void *', n_seq_id: 'void *', seq_id: 'void *', logits: 'void *' };

/** Defaults of the pinned release that sit at the start, middle and end of each struct. */
const EXPECTED_DEFAULTS = {
  model: { n_gpu_layers: -1, vocab_only: false, use_extra_bufts: true },
  context: { n_ctx: 512, n_batch: 2048, n_ubatch: 512, n_seq_max: 1, flash_attn_type: -1, type_k: 1, type_v: 1, offload_kqv: true },
};

let opened: Library | undefined;

/** Opens the packaged library once per process. Throws `internal` naming what is missing. */
export function openLibrary(): Library {
  opened ??= bind(libraryFolder());
  return opened;
}

function libraryFolder(): string {
  const require = createRequire(import.meta.url);
  let folder: string;
  try {
    folder = join(dirname(require.resolve('@node-llama-cpp/linux-x64')), '..', 'bins', 'linux-x64');
  } catch (cause) {
    throw new SluiceError(
      'internal',
      'the llama.cpp binary package is not installed: llamacpp engines run on Linux x64 with the package @node-llama-cpp/linux-x64',
      { cause },
    );
  }
  if (!existsSync(join(folder, `libllama.${RELEASE}.so`))) {
    throw new SluiceError(
      'internal',
      `the llama.cpp binary package has no libllama ${RELEASE}: its version and this engine's struct layouts must change together`,
    );
  }
  return folder;
}

function bind(folder: string): Library {
  koffi.load(join(folder, 'libggml-base.so'), { global: true });
  const ggml = koffi.load(join(folder, `libggml.${RELEASE}.so`), { global: true });
  const llama = koffi.load(join(folder, `libllama.${RELEASE}.so`));
  koffi.struct('llama_model_params', MODEL_PARAMS);
  koffi.struct('llama_context_params', CONTEXT_PARAMS);
  koffi.struct('llama_batch', BATCH);
  const log = captureLog(llama);
  ggml.func('void ggml_backend_load_all_from_path(const char *)')(folder);

  const decode = llama.func('int llama_decode(void *, llama_batch)');
  const library: Library = {
    modelDefaults: llama.func('llama_model_params llama_model_default_params()'),
    contextDefaults: llama.func('llama_context_params llama_context_default_params()'),
    loadModel: llama.func('void *llama_model_load_from_file(const char *, llama_model_params)'),
    freeModel: llama.func('void llama_model_free(void *)'),
    newContext: llama.func('void *llama_init_from_model(void *, llama_context_params)'),
    freeContext: llama.func('void llama_free(void *)'),
    vocabulary: llama.func('void *llama_model_get_vocab(void *)'),
    vocabularySize: llama.func('int llama_vocab_n_tokens(void *)'),
    isEndOfGeneration: llama.func('bool llama_vocab_is_eog(void *, int)'),
    tokenize: llama.func('int llama_tokenize(void *, const void *, int, _Out_ void *, int, bool, bool)'),
    piece: llama.func('int llama_token_to_piece(void *, int, _Out_ void *, int, int, bool)'),
    tokenText: llama.func('const char *llama_vocab_get_text(void *, int)'),
    bos: llama.func('int llama_vocab_bos(void *)'),
    eos: llama.func('int llama_vocab_eos(void *)'),
    chatTemplate: llama.func('const char *llama_model_chat_template(void *, const char *)'),
    newBatch: llama.func('llama_batch llama_batch_init(int, int, int)'),
    freeBatch: llama.func('void llama_batch_free(llama_batch)'),
    decode: (context, batch) =>
      new Promise((resolve, reject) => {
        decode.async(context, batch, (error: Error | null, result: number) => (error ? reject(error) : resolve(result)));
      }),
    logits: llama.func('void *llama_get_logits_ith(void *, int)'),
    memory: llama.func('void *llama_get_memory(void *)'),
    removeTokens: llama.func('bool llama_memory_seq_rm(void *, int, int, int)'),
    stateSize: llama.func('size_t llama_state_seq_get_size(void *, int)'),
    readState: llama.func('size_t llama_state_seq_get_data(void *, void *, size_t, int)'),
    writeState: llama.func('size_t llama_state_seq_set_data(void *, void *, size_t, int)'),
    layers: llama.func('int llama_model_n_layer(void *)'),
    kvHeads: llama.func('int llama_model_n_head_kv(void *)'),
    view: (pointer, bytes) => koffi.view(pointer, bytes),
    recentLog: () => log,
  };
  checkLayout('llama_model_params', library.modelDefaults(), EXPECTED_DEFAULTS.model);
  checkLayout('llama_context_params', library.contextDefaults(), EXPECTED_DEFAULTS.context);
  return library;
}

const LOG_LINES = 20;
const LOG_WARNING = 3;

/** llama.cpp writes to stderr unless told otherwise; we keep its last warnings for error messages instead. */
function captureLog(llama: LibraryHandle): string[] {
  const lines: string[] = [];
  const prototype = koffi.proto('void ggml_log_callback(int, const char *, void *)');
  const callback = koffi.register((level: number, text: string) => {
    if (level < LOG_WARNING) return;
    lines.push(text.trimEnd());
    if (lines.length > LOG_LINES) lines.shift();
  }, koffi.pointer(prototype));
  llama.func('void llama_log_set(void *, void *)')(callback, null);
  return lines;
}

function checkLayout(struct: string, actual: ParamFields, expected: ParamFields): void {
  for (const [field, value] of Object.entries(expected)) {
    if (actual[field] !== value) {
      throw new SluiceError(
        'internal',
        `${struct}.${field} is ${String(actual[field])} in the installed llama.cpp, expected ${String(value)}: the package and its struct layouts do not match`,
      );
    }
  }
}
