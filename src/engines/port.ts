/**
 * The engine port: what differs between engines, seen from the OpenAI face (`engines/openai`) that puts HTTP in front of it.
 *
 * Invariants
 * - `generate` and `prefill` never throw; every accepted call ends in exactly one `end` or `error`.
 * - The token at position p depends on (prompt, generated tokens before p, seed, p) alone, so another instance can go on at p
 *   with the same tokens.
 * - KV that is missing, late or corrupt is recomputed: never a wrong token, never a hang.
 */
import type { KvEventEnvelope, KvIdentity, KvSnapshot, LinkPrice, StoreVerdict, Tier } from '../kv/index.ts';
import type { SluiceError } from '../shared/index.ts';
import type { ContextPins } from './pins.ts';

export type Role = 'prefill' | 'decode' | 'mixed';
export type EngineType = 'llamacpp' | 'sim' | 'vllm' | 'sglang';
/**
 * How requests and hand-offs are spoken: as docs/engine-protocol.md has it, as vLLM with its NixlConnector does (`kv_transfer_params`), or
 * as SGLang does (`bootstrap_room`).
 */
export type Dialect = 'sluice' | 'nixl' | 'bootstrap';

export interface EngineInfo {
  readonly instance: string;
  readonly incarnation: string;
  readonly role: Role;
  readonly engine: EngineType;
  readonly dialect: Dialect;
  /** Where requests go; null = to whoever serves this info. An engine that is not ours is described by an agent beside it. */
  readonly requestUrl: string | null;
  /** True when no model is run and timings follow declared constants. Shown wherever the model is named. */
  readonly simulated: boolean;
  readonly model: string;
  readonly contextTokens: number;
  readonly maxSequences: number;
  readonly identity: KvIdentity;
  readonly bytesPerBlock: number;
  readonly tokenizer: TokenizerSource;
  /** Address of the KV transfer server that peers pull from; with `bootstrap` that of a prefill instance's bootstrap server. */
  readonly transfer: { readonly host: string; readonly port: number };
  /** How long finished blocks wait for a peer, milliseconds; null = none are kept. */
  readonly leaseMs: number | null;
  /** The store below its host memory: instances that name the same one find each other's blocks there. Absent = it has none. */
  readonly store?: string;
}

/** How another process of this machine gets the same tokenizer. */
export type TokenizerSource =
  | { readonly kind: 'gguf'; readonly path: string }
  /** A folder with `tokenizer.json` and `tokenizer_config.json`. */
  | { readonly kind: 'huggingface'; readonly path: string }
  | { readonly kind: 'bytes4' };

export interface ChatMessage {
  readonly role: string;
  readonly content: string;
}

/** Text to token ids and back. Pure, synchronous, safe to share. */
export interface Tokenizer {
  readonly vocabularySize: number;
  /** Plain text, special tokens of the text not parsed; the model's BOS is added if the model wants it. */
  encode(text: string): Int32Array;
  /** The model's chat template, then tokens with special tokens parsed. */
  encodeChat(messages: readonly ChatMessage[]): Int32Array;
  /** Bytes of one token; may be a part of a UTF-8 character. Special tokens give none. */
  piece(token: number): Uint8Array;
}

export interface Sampling {
  /** 0 = greedy. */
  readonly temperature: number;
  /** (0, 1]. */
  readonly topP: number;
  /** 32-bit unsigned. Randomness of position p comes from (seed, p) alone. */
  readonly seed: number;
  /** Tokens to generate at most, counted from the first one after the prompt (resumed tokens included). */
  readonly maxTokens: number;
  readonly ignoreEos: boolean;
  /** Top log-probabilities to report per token; null = none. */
  readonly logprobs: number | null;
}

/** Where a decode instance pulls KV from, as the prefill instance gave it out. Opaque to the router but for blocks and bytes. */
export interface HandOffTicket {
  readonly instance: string;
  readonly incarnation: string;
  readonly host: string;
  readonly port: number;
  readonly lease: string;
  /** Finished blocks under the lease, from the start of the prompt. */
  readonly blocks: number;
  readonly bytes: number;
  readonly leaseMs: number;
}

export interface EngineRequest {
  readonly id: string;
  readonly prompt: Int32Array;
  /** Tokens another instance already generated after the prompt; decoding goes on after them. */
  readonly resumed: Int32Array;
  readonly sampling: Sampling;
  /** Tenant salt: part of the chain seed. '' = shared. */
  readonly salt: string;
  readonly ticket: HandOffTicket | null;
  /** Milliseconds from now by which pulling KV must be done; then the rest is recomputed. */
  readonly pullDeadlineMs: number;
}

/** On a decode leg: blocks pulled and put into place. On a prefill leg: blocks copied out and kept under the lease. */
export interface HandOffReport {
  readonly blocks: number;
  readonly bytes: number;
  /** All that the hand-off cost here. */
  readonly ms: number;
  /** Of it: moving the bytes from process to process, verified. 0 on a prefill leg. */
  readonly moveMs: number;
  /** Why fewer blocks than offered came, or found room; null = all did. */
  readonly failed: string | null;
}

/** Blocks that were read from the store for a prompt. */
export interface OnboardReport {
  readonly blocks: number;
  readonly bytes: number;
  /** Contiguous groups that they came in. */
  readonly copies: number;
  /** From the question what is stored to the last verified block; the request waited for it. */
  readonly ms: number;
  /** Why fewer came than were stored; null = all did. */
  readonly failed: string | null;
}

/** What happened to the prompt before its first token. Token counts; they add up to the prompt with `computed`. */
export interface PromptReport {
  readonly promptTokens: number;
  readonly reused: Record<Tier, number>;
  readonly computed: number;
  readonly queueMs: number;
  readonly prefillMs: number;
  /** Null when nothing was handed over. */
  readonly handOff: HandOffReport | null;
  /** Null when nothing was read from the store; absent where there is none. */
  readonly onboard?: OnboardReport | null;
}

/** `moved`: it goes on elsewhere; see `Session.stop`. */
export type FinishReason = 'stop' | 'length' | 'cancelled' | 'moved';

export interface TokenLogprobs {
  readonly logprob: number;
  /** Most likely first. */
  readonly top: readonly { readonly token: number; readonly logprob: number }[];
}

export interface GenerateSink {
  /** Once, right before the first token. */
  start(report: PromptReport): void;
  token(token: number, logprobs: TokenLogprobs | null): void;
  end(reason: FinishReason): void;
  error(error: SluiceError): void;
}

export interface PrefillSink {
  done(ticket: HandOffTicket, report: PromptReport): void;
  error(error: SluiceError): void;
}

export interface Running {
  /** Frees what the request holds; `end('cancelled')` follows unless it already ended. Idempotent. */
  cancel(): void;
}

/** A request that generates, as whoever moves it to another instance sees it. */
export interface Session extends Running {
  /**
   * Keeps the blocks that are finished by now under a lease, for a peer to pull; the request decodes on. Asked again, the earlier lease
   * ends. Rejects with `not_found` when the request is over.
   */
  offer(): Promise<HandOffTicket>;
  /** Ends after its next token with `moved`, unless it ends by itself; its KV stays where it is until `cancel`. Idempotent. */
  stop(): void;
}

/**
 * A request whose stream another instance still decodes: it has its place here, gets KV and tokens, and generates nothing until it is
 * started. What it holds it holds until `start` or `cancel`: whoever holds it has to bound that.
 */
export interface HeldRequest {
  /** Resolves when it has its place. Rejects with `queue_full` when there is none now: it is not waited for. */
  readonly placed: Promise<void>;
  /** Pulls what the ticket offers beyond what is here and puts it into place. What does not come is computed by `follow`. Once, when placed. */
  pull(ticket: HandOffTicket, deadlineMs: number): Promise<HandOffReport>;
  /** Takes tokens that were generated meanwhile; resolves when the KV of all known tokens but the last one is here. Rejects when it is over. */
  follow(tokens: Int32Array): Promise<void>;
  /** It is this instance's from now on, and goes on after the last known token. */
  start(sink: GenerateSink): Session;
  cancel(): void;
}

/**
 * Measured (or, simulated, declared) costs of one instance in milliseconds.
 * prefill(u uncached tokens after c cached) = prefillFixed + prefillPerToken*u + prefillPerTokenContext*u*(c + u/2)
 * decode step(n sequences, t context tokens over all of them) = stepFixed + stepPerSequence*n + stepPerContextToken*t
 * pull(b bytes) = pullFixed + pullPerMiB*b/2^20
 */
export interface EngineCosts {
  readonly prefillFixed: number;
  readonly prefillPerToken: number;
  readonly prefillPerTokenContext: number;
  readonly stepFixed: number;
  readonly stepPerSequence: number;
  readonly stepPerContextToken: number;
  readonly pullFixed: number;
  readonly pullPerMiB: number;
}

export interface TierLoad {
  /** What running requests (in `hbm`) or leases and pins (in `host`) need: it cannot give way. vLLM's `kv_cache_usage_perc` is this by capacity. */
  readonly usedBytes: number;
  /** What is kept besides in case it is wanted again; it gives way. */
  readonly cachedBytes: number;
  readonly capacityBytes: number;
  /** Of `usedBytes`, what pinned contexts need. Absent where nothing can be pinned. */
  readonly pinnedBytes?: number;
}

/** The store below host memory, as this instance sees it. With a shared store all see the same bytes. */
export interface StoreLoad extends TierLoad {
  readonly kind: 'folder' | 'redis';
  /** `Ready`, or what is wrong. */
  readonly reason: string;
  readonly message: string;
  /** Of reading from it, as measured of late. Absent of an older engine. */
  readonly price?: LinkPrice;
  /** What is read for others first takes that long. */
  readonly aheadMs?: number;
}

export interface EngineLoad {
  readonly running: number;
  readonly waiting: number;
  /** Uncached prompt tokens not yet prefilled, over running and waiting requests. */
  readonly pendingPrefillTokens: number;
  /** Context tokens of running decodes. */
  readonly contextTokens: number;
  /** KV in each tier; `store` only where there is one. */
  readonly kv: Record<'hbm' | 'host', TierLoad> & { readonly store?: StoreLoad };
  readonly leases: number;
  readonly draining: boolean;
  /** Somebody ordered that its streams go elsewhere; it still takes requests. What tells of the load adds it; absent = nobody did. */
  readonly emptied?: boolean;
  readonly costs: EngineCosts;
  /** Milliseconds since the engine answered its agent last. Absent when the engine speaks for itself. */
  readonly quietMs?: number;
}

export interface EngineCounters {
  readonly promptTokens: number;
  readonly generationTokens: number;
  readonly prefixQueryTokens: number;
  readonly prefixHitTokens: number;
  readonly externalQueryTokens: number;
  readonly externalHitTokens: number;
  readonly pulledBytes: number;
  readonly pullFailures: number;
  readonly leasesExpired: number;
  readonly preemptions: number;
  /** Absent where there is no store. */
  readonly store?: StoreCounts;
}

/** What moved between host memory and the store, since the start. */
export interface StoreCounts {
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Contiguous groups. */
  readonly reads: number;
  readonly writes: number;
  /** Prompts whose KV was read from it, and those that were computed although it was there because that was faster. */
  readonly onboarded: number;
  readonly recomputed: number;
  readonly droppedBlocks: number;
  readonly evictedBlocks: number;
  /** Damaged groups that were found and removed. */
  readonly corrupt: number;
}

/** What a look at all KV that an instance holds found; damaged blocks are gone afterwards, but for those under a lease, which peers verify. */
export interface KvVerdict {
  readonly host: { readonly blocks: number; readonly bytes: number; readonly bad: readonly string[] };
  /** Null where there is no store. */
  readonly store: StoreVerdict | null;
}

export interface EngineCore {
  readonly info: EngineInfo;
  readonly tokenizer: Tokenizer;
  generate(request: EngineRequest, sink: GenerateSink): Session;
  /** Takes the place of a request that is to come here from another instance. Draining and full instances refuse it in `placed`. */
  hold(request: EngineRequest): HeldRequest;
  prefill(request: EngineRequest, sink: PrefillSink): Running;
  /** Ends a lease given out by this instance before its time: the hand-off will not happen. Idempotent. */
  releaseLease(lease: string): void;
  load(): EngineLoad;
  counters(): EngineCounters;
  snapshot(): KvSnapshot;
  /** Calls back for every event after the current snapshot; returns how to stop. */
  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void;
  /** Stops taking requests; resolves when running ones ended and leases were acknowledged or expired. */
  drain(): Promise<void>;
  /** Compares the checksums of all KV held in host memory and in the store. Absent where the engine cannot. */
  verify?(): Promise<KvVerdict>;
  /** Contexts whose KV stays in host memory. Absent where the engine cannot. */
  readonly pins?: ContextPins;
  /** Ends what runs, and all that it holds. Idempotent. */
  close(): Promise<void>;
}
