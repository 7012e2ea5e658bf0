/** One request inside the engine: its tokens, block keys, and where it stands. */
import { blockKeys, type KvBlock, keyHexes, type PulledBlock } from '../../kv/index.ts';
import type { EngineRequest, GenerateSink, OnboardReport, PrefillSink } from '../port.ts';
import type { Slot } from './slots.ts';

/**
 * `waiting` for a slot, while its blocks come from the prefill instance or the store → `prefill` → `decode` → `ended`.
 * A prefill leg ends after `prefill`. One that moves away is `paused` after its last token here, and one that comes from elsewhere is
 * `held` in `prefill` until it is started.
 */
export type Phase = 'waiting' | 'prefill' | 'decode' | 'paused' | 'ended';

export type Leg = { readonly kind: 'generate'; readonly sink: GenerateSink } | { readonly kind: 'prefill'; readonly sink: PrefillSink };

export class Sequence {
  readonly request: EngineRequest;
  readonly leg: Leg;
  readonly blockTokens: number;
  /** Prompt, resumed and generated tokens; `length` of them are known. */
  readonly tokens: Int32Array;
  /** Tokens whose KV must be computed before the first new token: prompt and resumed ones. */
  givenTokens: number;
  length: number;
  /** Tokens whose KV is in the slot. */
  computed = 0;
  phase: Phase = 'waiting';
  slot: Slot | null = null;
  /** Keys of all full blocks of the known tokens, hex. */
  readonly keys: string[];
  /** Blocks that came from the prefill instance, by index; dropped once they are in the slot. Views of memory that is used again. */
  readonly pulled = new Map<number, PulledBlock>();
  /** Blocks that came from the store, by index; dropped once they are in the slot. */
  readonly onboarded = new Map<number, KvBlock>();
  onboardResult: OnboardReport | null = null;
  /** Blocks are on their way: it keeps its place in the line meanwhile. */
  fetching = false;
  /** Gives the memory of the pulled ones back. */
  onPulledUsed: () => void = () => undefined;
  pullResult: { blocks: number; bytes: number; ms: number; failed: string | null } | null = null;
  readonly reused = { hbm: 0, host: 0, peer: 0, store: 0 };
  readonly queuedAt: number;
  startedAt = 0;
  loadMs = 0;
  /** Another instance still decodes it: nothing is generated, and the KV of the last known token is left for the start. */
  held = false;
  /** Its blocks are on their way, so that nothing is computed. */
  filling = false;
  /** The next token is its last one here. */
  stopAsked = false;
  onPlaced: () => void = () => undefined;
  /** All that `prefillTarget` asks for is computed, while it is held. */
  onCaughtUp: () => void = () => undefined;
  readonly abort = new AbortController();
  readonly #releases: (() => void)[] = [];
  readonly #seed: Uint32Array;
  #words: Uint32Array;

  constructor(request: EngineRequest, leg: Leg, options: { seed: Uint32Array; blockTokens: number; contextTokens: number; now: number }) {
    const given = request.prompt.length + request.resumed.length;
    const room = leg.kind === 'prefill' ? 0 : Math.max(0, request.sampling.maxTokens - request.resumed.length);
    this.request = request;
    this.leg = leg;
    this.blockTokens = options.blockTokens;
    this.givenTokens = given;
    this.tokens = new Int32Array(Math.min(options.contextTokens, given + room));
    this.tokens.set(request.prompt);
    this.tokens.set(request.resumed, request.prompt.length);
    this.length = given;
    this.queuedAt = options.now;
    this.#seed = options.seed;
    this.#words = blockKeys(options.seed, this.tokens.subarray(0, given), options.blockTokens);
    this.keys = keyHexes(this.#words);
  }

  /** Leading blocks that may come from a cache. Generating needs the logits of the last token, so that one is always computed. */
  get reusableBlocks(): number {
    const last = this.leg.kind === 'generate' ? this.givenTokens - 1 : this.givenTokens;
    return Math.floor(Math.max(0, last) / this.blockTokens);
  }

  /** Tokens to compute before the leg's result. A prefill leg leaves the unfinished block to the decode instance. */
  get prefillTarget(): number {
    if (this.held) return this.givenTokens - 1;
    return this.leg.kind === 'generate' ? this.givenTokens : this.reusableBlocks * this.blockTokens;
  }

  /** It has a slot and nothing to do there until somebody asks for something. */
  get parked(): boolean {
    return this.phase === 'paused' || (this.held && (this.filling || this.computed >= this.prefillTarget));
  }

  /** Tokens that were generated elsewhere. @throws RangeError beyond what may be generated */
  follow(tokens: Int32Array): void {
    if (this.length + tokens.length > this.tokens.length)
      throw new RangeError(`${tokens.length} more tokens: there is room for ${this.tokens.length - this.length}`);
    for (const token of tokens) this.push(token);
    this.givenTokens = this.length;
  }

  /** Calls back when the blocks from the store are in place, or not needed any more: at once when it is over. */
  onOnboardedUsed(release: () => void): void {
    if (this.phase === 'ended') release();
    else this.#releases.push(release);
  }

  /** The blocks from elsewhere are in place, or not needed any more. Idempotent. */
  dropPulled(): void {
    this.pulled.clear();
    this.onboarded.clear();
    for (const release of this.#releases.splice(0)) release();
    this.onPulledUsed();
    this.onPulledUsed = () => undefined;
  }

  get isFull(): boolean {
    return this.length >= this.tokens.length;
  }

  /** Adds a generated token; its block gets a key when it is full. */
  push(token: number): void {
    this.tokens[this.length++] = token;
    if (this.length % this.blockTokens !== 0) return;
    const parent = this.#words.length === 0 ? this.#seed : this.#words.subarray(-4);
    const words = blockKeys(parent, this.tokens.subarray(this.length - this.blockTokens, this.length), this.blockTokens);
    this.#words = words;
    this.keys.push(...keyHexes(words));
  }
}
