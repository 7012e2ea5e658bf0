/** The words of placement: what it is given and what it answers. Types only. */
import type { EngineCosts, Role } from '../../engines/index.ts';
import type { LinkPrice } from '../../kv/index.ts';

/** One instance as placement sees it. */
export interface InstanceView {
  readonly id: string;
  readonly role: Role;
  readonly costs: EngineCosts;
  readonly maxSequences: number;
  /** Requests on it or about to be. */
  readonly running: number;
  /** Prompt tokens that wait to be prefilled there before a new request's. */
  readonly pendingPrefillTokens: number;
  /** Context tokens of the streams that it decodes. */
  readonly contextTokens: number;
  /** Of reading from its store, as it measures it; null = it has none, or nothing can be read there now. */
  readonly storePrice: LinkPrice | null;
  /** What is read there for others first takes that long. */
  readonly storeAheadMs: number;
}

export interface PlacementRequest {
  readonly promptTokens: number;
  /** Most tokens that the client asked for. */
  readonly maxTokens: number;
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
  /** Instances that can be chosen. */
  readonly instances: readonly InstanceView[];
  /** Leading blocks that each instance has, by the position of the instance. */
  readonly held: ArrayLike<number>;
  /** Blocks right behind these that are in each instance's store. */
  readonly stored: ArrayLike<number>;
  /** How long an engine may take to get KV from elsewhere, milliseconds: what cannot come by then is computed. */
  readonly pullMs: number;
  /** Where to begin among equals: a number that changes from request to request spreads them. */
  readonly spread: number;
  /** True: decode alone is no choice while there is a pair (readiness probes want the whole way). */
  readonly pairOnly: boolean;
  /** False: instances of the decode pool only take requests whose prompt another one prefills. */
  readonly decodesAlone: boolean;
}

/** Milliseconds. The first group adds up to the predicted time to first token. */
export interface Terms {
  /** Prompts that come first on the instance that prefills. */
  readonly queueMs: number;
  /**
   * Reading blocks from the store of the prefilling instance, where that is faster than computing them: what it takes beyond the wait
   * for the prompts before it and for a sequence, since the engine reads meanwhile.
   */
  readonly onboardMs: number;
  /** Prefill of the tokens that the prefilling instance neither has nor reads. */
  readonly prefillMs: number;
  /** Pull of the blocks that the decode instance lacks; of those that are faster read from its store, reading. */
  readonly transferMs: number;
  /** Wait for one of the decode instance's sequences. */
  readonly admitMs: number;
  /** Prefill of the unfinished tail on the decode instance after a hand-off, and prompts before it. */
  readonly tailMs: number;
  /** What prefill on the decode instance takes from the streams there and one more that may come, summed over them. */
  readonly stallMs: number;
  /** Decoding the expected output at the instance's load with this stream. */
  readonly decodeMs: number;
}

export interface Candidate {
  /** Null: the decode instance prefills the prompt itself. */
  readonly prefill: string | null;
  readonly decode: string;
  readonly terms: Terms;
  readonly ttftMs: number;
  /** Sum of all terms; the least one wins. */
  readonly totalMs: number;
  /** Leading blocks that the instance that prefills has. */
  readonly cachedBlocks: number;
  /** Blocks behind them that it would read from its store. */
  readonly storedBlocks: number;
  /** Blocks that the decode instance of a pair would get. */
  readonly pulledBlocks: number;
}

/** What placement answers. */
export interface Ranking {
  readonly chosen: Candidate;
  /** Best first, the chosen one among them; at most MAX_CANDIDATES. */
  readonly candidates: readonly Candidate[];
  /** How many were priced. */
  readonly considered: number;
  readonly why: string;
}

/** An instance that could not be chosen. */
export interface Aside {
  readonly instance: string;
  readonly why: string;
}

export interface Decision extends Ranking {
  /** At most MAX_ASIDE. */
  readonly aside: readonly Aside[];
}

export const MAX_ASIDE = 8;
export const MAX_CANDIDATES = 6;

export function ttftOf(terms: Terms): number {
  return terms.queueMs + terms.onboardMs + terms.prefillMs + terms.transferMs + terms.admitMs + terms.tailMs;
}

export function totalOf(terms: Terms): number {
  return ttftOf(terms) + terms.stallMs + terms.decodeMs;
}
