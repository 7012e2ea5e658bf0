/**
 * A llama.cpp context: sequences, batches, logits, state.
 *
 * Exact tokens. The same tokens must come out however a prompt was split, batched, moved or resumed. Three rules give that, each
 * found by comparing logits bit for bit (context.test.ts):
 * - flash attention off and one thread: its accumulation order depends on the batch;
 * - a sequence never enters a batch with a single token. Matrix × vector and matrix × matrix kernels add in different orders, so a
 *   decode step carries a second token at the next position, whose cell is removed at once. It sees nothing that the first token
 *   would not see, and costs nothing here: the matrix kernel is the faster one;
 * - one KV stream per sequence, cells in order of position.
 */
import { SluiceError } from '../../shared/index.ts';
import type { Batch, Pointer } from './library.ts';
import type { Model } from './model.ts';

export interface ContextOptions {
  readonly contextTokens: number;
  readonly sequences: number;
}

/** Tokens to evaluate for one sequence from `position` on; logits are wanted for the last one. */
export interface Feed {
  readonly sequence: number;
  readonly position: number;
  readonly tokens: Int32Array;
  readonly wantLogits: boolean;
}

/** Longest batch, and so the longest piece of prompt that runs at once. */
export const BATCH_TOKENS = 512;

/** Room for the second token of the last decode step, in the steps of 256 that llama.cpp rounds to anyway. */
function cellsPerSequence(contextTokens: number): number {
  return Math.ceil((contextTokens + 1) / 256) * 256;
}

const F16 = 1;
const CACHE_FULL = 1;

export class LlamaContext {
  readonly vocabularySize: number;
  readonly #model: Model;
  readonly #pointer: Pointer;
  readonly #memory: Pointer;
  readonly #batch: Batch;
  readonly #arrays: BatchArrays;
  #busy = false;

  /** Throws `internal` when llama.cpp cannot make the context, usually for want of memory. */
  constructor(model: Model, options: ContextOptions) {
    const { library } = model;
    this.#model = model;
    this.vocabularySize = model.vocabularySize;
    const pointer = library.newContext(model.pointer, {
      ...library.contextDefaults(),
      n_ctx: cellsPerSequence(options.contextTokens) * options.sequences,
      n_batch: BATCH_TOKENS,
      n_ubatch: BATCH_TOKENS,
      n_seq_max: options.sequences,
      n_outputs_max: options.sequences + 1,
      n_threads: 1,
      n_threads_batch: 1,
      flash_attn_type: 0,
      type_k: F16,
      type_v: F16,
      no_perf: true,
      kv_unified: false,
    });
    if (!pointer) {
      const why = library.recentLog().at(-1) ?? 'no reason given';
      throw new SluiceError(
        'internal',
        `llama.cpp cannot hold ${options.sequences} sequences of ${options.contextTokens} tokens: ${why}. Lower engine.maxSequences or engine.contextTokens`,
      );
    }
    this.#pointer = pointer;
    this.#memory = library.memory(pointer);
    this.#batch = library.newBatch(BATCH_TOKENS, 0, 1);
    this.#arrays = viewBatch(model, this.#batch);
  }

  /**
   * Evaluates the feeds in one batch. At most BATCH_TOKENS tokens, a sequence at most once, all feeds of one length (unequal ones
   * would be split by llama.cpp into pieces that may be one token long). Resolves to the logits of each feed that wants them,
   * copied, in order. Only one evaluation runs at a time.
   */
  async evaluate(feeds: readonly Feed[]): Promise<(Float32Array | null)[]> {
    if (this.#busy) throw new Error('evaluate() while another evaluation runs');
    this.#busy = true;
    try {
      const rows = this.#fill(feeds);
      const result = await this.#model.library.decode(this.#pointer, this.#batch);
      if (result === CACHE_FULL)
        throw new SluiceError('internal', 'llama.cpp found no free cell: the block manager promised more context than there is');
      if (result !== 0)
        throw new SluiceError('internal', `llama_decode failed with ${result}: ${this.#model.library.recentLog().at(-1) ?? ''}`);
      const logits = feeds.map((feed, i) => (feed.wantLogits ? this.#logits(rows[i] as number) : null));
      for (const feed of feeds) if (feed.tokens.length === 1) this.truncate(feed.sequence, feed.position + 1);
      return logits;
    } finally {
      this.#busy = false;
    }
  }

  /** Row in the batch of each feed's last real token. */
  #fill(feeds: readonly Feed[]): number[] {
    const { token, position, sequenceCount, sequence, output } = this.#arrays;
    let row = 0;
    const add = (feed: Feed, id: number, at: number, wanted: boolean) => {
      if (row >= BATCH_TOKENS) throw new RangeError(`a batch has at most ${BATCH_TOKENS} tokens`);
      token[row] = id;
      position[row] = at;
      sequenceCount[row] = 1;
      (sequence[row] as Int32Array)[0] = feed.sequence;
      output[row++] = wanted ? 1 : 0;
    };
    const rows = feeds.map((feed) => {
      const last = feed.tokens.length - 1;
      for (let i = 0; i <= last; i++) add(feed, feed.tokens[i] as number, feed.position + i, feed.wantLogits && i === last);
      const at = row - 1;
      if (last === 0) add(feed, 0, feed.position + 1, false);
      return at;
    });
    this.#batch.n_tokens = row;
    return rows;
  }

  #logits(row: number): Float32Array {
    const { library } = this.#model;
    const pointer = library.logits(this.#pointer, row);
    if (!pointer) throw new SluiceError('internal', `llama.cpp gave no logits for row ${row}`);
    return new Float32Array(library.view(pointer, this.vocabularySize * 4)).slice();
  }

  /** Drops everything of a sequence from token `from` on. */
  truncate(sequence: number, from: number): void {
    if (!this.#model.library.removeTokens(this.#memory, sequence, from, -1)) {
      throw new SluiceError('internal', `llama.cpp cannot cut sequence ${sequence} at ${from}`);
    }
  }

  /** Bytes of a sequence's state. */
  stateBytes(sequence: number): number {
    return Number(this.#model.library.stateSize(this.#pointer, sequence));
  }

  /** The state of a sequence, at the start of `memory`; default: memory of its own. */
  read(sequence: number, memory: Uint8Array = new Uint8Array(this.stateBytes(sequence))): Uint8Array {
    const { library } = this.#model;
    const state = memory.subarray(0, this.stateBytes(sequence));
    const written = Number(library.readState(this.#pointer, state, state.length, sequence));
    if (written !== state.length) throw new SluiceError('internal', `llama.cpp wrote ${written} of ${state.length} bytes of state`);
    return state;
  }

  /** Replaces a sequence. The state must be whole: joinBlocks makes such a one. */
  write(sequence: number, state: Uint8Array): void {
    const { library } = this.#model;
    if (Number(library.writeState(this.#pointer, state, state.length, sequence)) !== state.length) {
      throw new SluiceError('internal', `llama.cpp refused a state: ${library.recentLog().at(-1) ?? 'no reason given'}`);
    }
  }

  /** @throws {Error} while an evaluation runs, on whose memory llama.cpp still works */
  close(): void {
    if (this.#busy) throw new Error('close() while an evaluation runs');
    this.#model.library.freeBatch(this.#batch);
    this.#model.library.freeContext(this.#pointer);
  }
}

interface BatchArrays {
  readonly token: Int32Array;
  readonly position: Int32Array;
  readonly sequenceCount: Int32Array;
  readonly sequence: readonly Int32Array[];
  readonly output: Int8Array;
}

/** The batch's arrays, written to directly: a call per token would cost more than the token. */
function viewBatch(model: Model, batch: Batch): BatchArrays {
  const { library } = model;
  const ints = (pointer: Pointer) => new Int32Array(library.view(pointer, BATCH_TOKENS * 4));
  const pointers = new BigUint64Array(library.view(batch.seq_id, BATCH_TOKENS * 8));
  return {
    token: ints(batch.token),
    position: ints(batch.pos),
    sequenceCount: ints(batch.n_seq_id),
    sequence: Array.from(pointers, (pointer) => new Int32Array(library.view(pointer, 4))),
    output: new Int8Array(library.view(batch.logits, BATCH_TOKENS)),
  };
}
