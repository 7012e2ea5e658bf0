/** One request inside a simulated engine. */
import { blockKeys, type KvBlock, keyHex } from '../../kv/index.ts';
import type { SluiceError } from '../../shared/index.ts';
import type { EngineRequest, FinishReason, OnboardReport, PromptReport, TokenLogprobs } from '../port.ts';
import type { LocalTier, ReusedTier, SimKv } from './kv.ts';
import { Speech } from './speech.ts';

/** What becomes of a sequence: tokens for a sink, or a hand-off of its prompt. */
export interface SequenceEvents {
  start(report: PromptReport): void;
  /** The prompt is computed; true when that was all that was asked for. */
  prefilled(sequence: Sequence): boolean;
  token(token: number, logprobs: TokenLogprobs | null): void;
  /** It is about to end by itself; its HBM may be detached now. */
  ending(sequence: Sequence): void;
  end(reason: FinishReason): void;
  error(error: SluiceError): void;
}

/** Nobody listens. */
export const SILENT: SequenceEvents = {
  start: () => {},
  prefilled: () => false,
  token: () => {},
  ending: () => {},
  end: () => {},
  error: () => {},
};

export interface Pulled {
  /** Blocks from `from` to before `to` came from a peer. */
  readonly from: number;
  readonly to: number;
  readonly report: NonNullable<PromptReport['handOff']>;
}

export interface Onboarded {
  /** Blocks from `from` to before `to` came from the store. */
  readonly from: number;
  readonly to: number;
  readonly report: OnboardReport;
  /** They have their place, or are not wanted. Idempotent. */
  readonly release: () => void;
}

export interface SequenceOptions {
  readonly request: EngineRequest;
  readonly events: SequenceEvents;
  readonly seed: Uint32Array;
  readonly blockTokens: number;
  readonly arrivedAt: number;
}

export class Sequence {
  readonly request: EngineRequest;
  readonly events: SequenceEvents;
  readonly speech: Speech;
  readonly arrivedAt: number;
  readonly #blockTokens: number;
  /** Prompt, then all tokens said. */
  #tokens: Int32Array;
  length: number;
  /** Names of the finished blocks of what `length` was at the last look. */
  readonly keys: string[] = [];
  #lastKey: Uint32Array;
  /** Leading tokens whose KV is in HBM. */
  computed = 0;
  /** Named HBM blocks that it uses; the leading ones of `keys`. */
  used = 0;
  /** Unfinished HBM blocks that it has. */
  unfinished = 0;
  pulled: Pulled | null = null;
  onboarded: Onboarded | null = null;
  /** Its blocks are on their way: it keeps its place in the line meanwhile. */
  fetching = false;
  admittedAt = 0;
  /** Tokens that prefill has to bring `computed` to before the next token can be said. */
  target: number;
  /** Leading tokens that prefill will probably find computed. */
  expected = 0;
  started = false;
  over = false;
  /** The next token is its last one here. */
  stopAsked = false;
  paused = false;
  #report: Pick<PromptReport, 'reused' | 'computed'> | null = null;

  constructor(options: SequenceOptions) {
    const { prompt, resumed, sampling } = options.request;
    this.request = options.request;
    this.events = options.events;
    this.arrivedAt = options.arrivedAt;
    this.#blockTokens = options.blockTokens;
    this.#lastKey = options.seed;
    this.speech = new Speech(prompt, sampling);
    for (const token of resumed) this.speech.hear(token);
    this.length = prompt.length + resumed.length;
    this.#tokens = new Int32Array(this.length);
    this.#tokens.set(prompt);
    this.#tokens.set(resumed, prompt.length);
    this.target = this.length;
    this.#nameBlocks();
  }

  get generated(): number {
    return this.length - this.request.prompt.length;
  }

  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.length);
  }

  get decoding(): boolean {
    return this.computed >= this.target;
  }

  /** Tokens for which it has room in HBM. */
  get room(): number {
    return (this.used + this.unfinished) * this.#blockTokens;
  }

  /** `blocks` leading blocks are here or were pulled; only an estimate until it is admitted. */
  expect(blocks: number): void {
    this.expected = Math.min(blocks * this.#blockTokens, this.length - 1);
  }

  say(token: number): void {
    if (this.length === this.#tokens.length) {
      const longer = new Int32Array(Math.max(64, this.length * 2));
      longer.set(this.#tokens);
      this.#tokens = longer;
    }
    this.#tokens[this.length] = token;
    this.length += 1;
    this.#nameBlocks();
  }

  block(kv: SimKv, index: number): KvBlock {
    const size = this.#blockTokens;
    const tokens = this.#tokens.slice(index * size, (index + 1) * size);
    return kv.block({ key: this.keys[index] ?? '', parent: this.keys[index - 1] ?? null, tokens, tenant: this.request.salt });
  }

  /** KV of the leading `computed` tokens is there now: finished blocks get their names in HBM. */
  advance(kv: SimKv, computed: number): void {
    this.computed = computed;
    const done = Math.min(this.keys.length, Math.floor(computed / this.#blockTokens));
    if (done <= this.used) return;
    const blocks = Array.from({ length: done - this.used }, (_, index) => this.block(kv, this.used + index));
    kv.commit(blocks);
    this.unfinished -= done - this.used;
    this.used = done;
  }

  /**
   * Takes HBM for all tokens there are, using what is here or was pulled. False, with nothing taken, when HBM is short.
   * At least the last token is always computed, since its output is the next token.
   */
  admit(kv: SimKv): boolean {
    const local = kv.match(this.keys, this.tokens);
    const reusable = this.#reusable(local);
    const elsewhere = local.findIndex((tier) => tier !== 'hbm');
    const inUse = elsewhere < 0 ? local.length : elsewhere;
    for (let index = 0; index < inUse; index += 1) kv.hbm.use(this.keys[index] ?? '');
    const needed = Math.ceil(this.length / this.#blockTokens) - inUse;
    if (!kv.reserve(needed)) {
      kv.hbm.leave(this.keys.slice(0, inUse));
      return false;
    }
    this.used = inUse;
    this.unfinished = needed;
    this.target = this.length;
    this.advance(kv, Math.min(reusable * this.#blockTokens, this.length - 1));
    this.#note(local, reusable);
    this.onboarded?.release();
    return true;
  }

  /** Gives all HBM back; what is named stays cached until it is evicted. */
  leave(kv: SimKv): void {
    kv.hbm.leave(this.keys.slice(0, this.used));
    kv.hbm.unreserve(this.unfinished);
    this.used = 0;
    this.unfinished = 0;
    this.computed = 0;
  }

  /** Makes its HBM independent of it. @returns gives it back */
  detach(kv: SimKv): () => void {
    const { unfinished } = this;
    const keys = this.keys.slice(0, this.used);
    this.used = 0;
    this.unfinished = 0;
    return () => {
      kv.hbm.leave(keys);
      kv.hbm.unreserve(unfinished);
    };
  }

  report(now: number): PromptReport {
    const pulledMs = (this.pulled?.report.ms ?? 0) + (this.onboarded?.report.ms ?? 0);
    return {
      promptTokens: this.request.prompt.length,
      reused: this.#report?.reused ?? { hbm: 0, host: 0, peer: 0, store: 0 },
      computed: this.#report?.computed ?? this.request.prompt.length,
      queueMs: Math.max(0, this.admittedAt - this.arrivedAt - pulledMs),
      prefillMs: Math.max(0, now - this.admittedAt),
      handOff: this.pulled?.report ?? null,
      onboard: this.onboarded?.report ?? null,
    };
  }

  #reusable(local: readonly LocalTier[]): number {
    let reach = local.length;
    for (const more of [this.onboarded, this.pulled]) if (more && more.from <= reach) reach = Math.max(reach, more.to);
    return reach;
  }

  /** Reuse of the prompt's own tokens, by tier; the first admission counts, a later one after preemption does not. */
  #note(local: readonly LocalTier[], reusable: number): void {
    if (this.#report !== null) return;
    const promptTokens = this.request.prompt.length;
    const reused = { hbm: 0, host: 0, peer: 0, store: 0 };
    let left = Math.min(promptTokens, this.length - 1);
    for (let index = 0; index < reusable && left > 0; index += 1) {
      const share = Math.min(left, this.#blockTokens);
      reused[local[index] ?? this.#elsewhere(index)] += share;
      left -= share;
    }
    this.#report = { reused, computed: promptTokens - reused.hbm - reused.host - reused.peer - reused.store };
  }

  #elsewhere(index: number): ReusedTier {
    const { onboarded } = this;
    return onboarded && index >= onboarded.from && index < onboarded.to ? 'store' : 'peer';
  }

  #nameBlocks(): void {
    const size = this.#blockTokens;
    const named = this.keys.length;
    const whole = Math.floor(this.length / size);
    if (whole <= named) return;
    const words = blockKeys(this.#lastKey, this.#tokens.subarray(named * size, whole * size), size);
    for (let index = 0; index < whole - named; index += 1) this.keys.push(keyHex(words, index));
    this.#lastKey = words.slice(words.length - 4);
  }
}
