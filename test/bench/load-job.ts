/** What the load generator is asked for and what it answers; the words between it and the bench. */
import type { Quantiles } from './quantiles.ts';

export interface LoadJob {
  readonly host: string;
  /** Connections go to these in turn. */
  readonly ports: readonly number[];
  readonly path: string;
  /** Bodies, sent in turn. */
  readonly bodies: readonly string[];
  readonly stream: boolean;
  readonly shape:
    | { readonly kind: 'closed'; readonly connections: number; readonly seconds: number }
    /** Times from `arrivals.ts`; latency counts from the time planned, whether or not it could be kept. */
    | { readonly kind: 'open'; readonly arrivalsMs: readonly number[]; readonly maxConnections: number };
  /** After the last request started, how long its answer may take. Later is an error. */
  readonly patienceMs: number;
  /** Also hand over every single answer. */
  readonly detail: boolean;
}

/** One answered request. */
export interface Answer {
  readonly latencyMs: number;
  /** To the first token; equals the latency when not streamed. */
  readonly ttftMs: number;
  /** Between tokens, mean over the answer; null with fewer than two tokens. */
  readonly tpotMs: number | null;
  readonly tokens: number;
}

export interface LoadResult {
  /** Answered as they should be. */
  readonly completed: number;
  /** Empty unless `detail` was asked for. */
  readonly answers: readonly Answer[];
  readonly wallMs: number;
  readonly tokens: number;
  readonly latencyMs: Quantiles;
  readonly ttftMs: Quantiles;
  readonly tpotMs: Quantiles;
  readonly requestsPerSecond: number;
  readonly errors: number;
  /** The first few, in words. */
  readonly errorExamples: readonly string[];
}

export type ToGenerator = { readonly type: 'job'; readonly job: LoadJob };
export type FromGenerator =
  | { readonly type: 'ready' }
  | { readonly type: 'result'; readonly result: LoadResult }
  | { readonly type: 'failed'; readonly reason: string };
