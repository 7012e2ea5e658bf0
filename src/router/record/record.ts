/**
 * The decision record: what the router considered for one request, what it chose, and what then happened. `RequestRecord` is also
 * the JSON of `GET /admin/requests/:id`.
 */
import type { PromptReport } from '../../engines/index.ts';
import type { AbortReason, MigrationState } from '../../kv/index.ts';
import type { Decision } from '../placement/index.ts';

/** What an instance did with the prompt on one leg: an engine's own report, or what is known of an engine that gives none. Null = not known. */
export interface LegReport {
  readonly promptTokens: number;
  readonly reused: PromptReport['reused'] | null;
  readonly computed: number | null;
  readonly queueMs: number | null;
  readonly prefillMs: number | null;
  /** Null when nothing was handed over. */
  readonly handOff: LegHandOff | null;
  /** What was read from the store; absent or null = nothing. */
  readonly onboard?: PromptReport['onboard'];
}

export interface LegHandOff {
  readonly blocks: number;
  readonly bytes: number;
  readonly ms: number | null;
  readonly moveMs: number | null;
  /** Why fewer blocks than offered came; null = all did. */
  readonly failed: string | null;
}

/** `refused`: an engine's 4xx, passed on; `rejected`: by the router itself, before an engine had it. */
export type RequestOutcome = 'ok' | 'refused' | 'rejected' | 'cancelled' | 'failed';

export interface AttemptRecord {
  /** Milliseconds after the request came. */
  readonly atMs: number;
  readonly decision: Decision;
  /** Both legs were asked at the same time, and wait for each other. */
  readonly concurrent: boolean;
  /** Tokens that were already generated when the attempt began: more than 0 for a resumed stream. */
  readonly resumedTokens: number;
  /** Null until the prefill leg answered. */
  prefill: { readonly ms: number; readonly report: LegReport } | null;
  /** What the decode instance did with the prompt; null until its first token. */
  decode: { readonly ms: number; readonly report: LegReport | null } | null;
  /** Why it ended before its time; null when it did not. */
  error: string | null;
  /** When that was: milliseconds after the request came; null when it did not. */
  lostAtMs: number | null;
}

/** The move of the running stream to another instance. */
export interface MoveRecord {
  readonly id: string;
  /** Milliseconds after the request came. */
  readonly atMs: number;
  readonly from: string;
  readonly to: string;
  readonly why: string;
  /** `recompute`: the engine does not offer blocks of a running request, so another instance computed them again. */
  readonly way: 'blocks' | 'recompute';
  state: MigrationState;
  /** Why it was given up; null when it was not. */
  reason: AbortReason | null;
  /** Tokens generated before the switch. */
  tokens: number;
  /** Pulled by the target while the source decoded on. */
  blocks: number;
  bytes: number;
  tookMs: number;
  /** Between the source's last token and the target's first; null until then. */
  pauseMs: number | null;
  /** Mean time between two tokens before the move; null when there were not two. */
  interTokenMs: number | null;
}

/** The ids of a request's spans (docs/tracing.md): those of all follow from that of the first. */
export interface SpanOrigin {
  /** Of the request's own span: 16 lower-case hexadecimal digits, the last two of which number its spans. */
  readonly id: string;
  /** The client's span; null = it sent none. */
  readonly parentId: string | null;
}

export interface RequestRecord {
  readonly id: string;
  /** Of the client's W3C trace context, or the router's own; null = there is none. */
  readonly traceId: string | null;
  /** Null = no spans are made of it. */
  readonly span: SpanOrigin | null;
  readonly kind: 'chat' | 'completion';
  readonly model: string;
  readonly stream: boolean;
  /** A readiness probe of the router itself. */
  readonly synthetic: boolean;
  /** Unix milliseconds. */
  readonly startedAt: number;
  readonly maxTokens: number;
  promptTokens: number;
  /** Waiting for admission. */
  queuedMs: number;
  readonly attempts: AttemptRecord[];
  resumes: number;
  readonly moves: MoveRecord[];
  /** Null while the request is under way. */
  outcome: RequestOutcome | null;
  status: number;
  /** Code and message of what the client was told, when that was an error. */
  error: string | null;
  finishReason: string | null;
  outputTokens: number;
  ttftMs: number | null;
  /** Mean time per output token after the first. */
  tpotMs: number | null;
  totalMs: number | null;
}

export interface RecordSummary {
  readonly prefill: string | null;
  readonly decode: string | null;
  readonly why: string;
  /** Instances that could not be chosen. */
  readonly aside: Decision['aside'];
  /** Tokens of the prompt that nobody had to compute, by the tier they came from. */
  readonly reusedTokens: { readonly hbm: number; readonly host: number; readonly peer: number; readonly store: number };
  readonly handOff: { readonly blocks: number; readonly bytes: number; readonly ms: number | null } | null;
}

const NOTHING_REUSED = { hbm: 0, host: 0, peer: 0, store: 0 };

/** The short form of the first attempt that gave a token, else of the last one. */
export function summaryOf(record: RequestRecord): RecordSummary {
  const attempt = record.attempts.find((each) => each.decode !== null) ?? record.attempts.at(-1);
  if (!attempt)
    return { prefill: null, decode: null, why: record.error ?? 'not placed', aside: [], reusedTokens: NOTHING_REUSED, handOff: null };
  const { chosen, why, aside } = attempt.decision;
  const handOff = attempt.decode?.report?.handOff ?? null;
  // After a hand-off nearly all of the prompt is "reused" on the decode instance: what was saved is what the prefill instance had.
  const report = attempt.prefill?.report ?? attempt.decode?.report;
  return {
    prefill: chosen.prefill,
    decode: chosen.decode,
    why,
    aside,
    reusedTokens: report?.reused ?? NOTHING_REUSED,
    handOff: handOff === null ? null : { blocks: handOff.blocks, bytes: handOff.bytes, ms: handOff.ms },
  };
}
