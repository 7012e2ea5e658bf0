/** What a quickstart found, in the shape of `--json`. Pure. */
import type { ScriptedRequest } from './script.ts';
import type { StreamResult } from './stream.ts';

export interface ReusedTokens {
  readonly hbm: number;
  readonly host: number;
  readonly peer: number;
  readonly store: number;
}

export interface HandOff {
  readonly blocks: number;
  readonly bytes: number;
  /** Null when the engine does not say. */
  readonly ms: number | null;
}

/** What the router knows of a request. */
export interface Trace {
  /** Null when the decode instance did it alone. */
  readonly prefill: string | null;
  readonly decode: string | null;
  readonly why: string;
  readonly promptTokens: number;
  readonly reusedTokens: ReusedTokens;
  readonly handOff: HandOff | null;
}

export interface RequestReport extends Trace {
  readonly name: string;
  readonly requestId: string;
  readonly model: string;
  readonly ttftMs: number | null;
  readonly tokensPerSecond: number | null;
  readonly outputTokens: number;
  readonly equalsSingleEngine: boolean;
  readonly finishReason: string | null;
  /** Why it, or the single engine's answer to the same, did not end well. */
  readonly error: string | null;
}

export interface Leftovers {
  readonly leases: number;
  readonly reservations: number;
  readonly processes: number;
  readonly files: number;
}

export interface QuickstartReport {
  readonly ok: boolean;
  readonly readyMs: number;
  readonly requests: readonly RequestReport[];
  readonly leftovers: Leftovers;
}

/** What `--json` prints. Its fields are agreed; errors are for people, on the terminal. */
export function documentOf(report: QuickstartReport): string {
  return JSON.stringify({ ...report, requests: report.requests.map((request) => ({ ...request, error: undefined })) });
}

/** Text of a stream that was cut short must begin that of the single engine; any other must equal it. */
export function equalText(request: ScriptedRequest, pooled: StreamResult, single: StreamResult): boolean {
  if (pooled.error !== null || single.error !== null || single.text === '') return false;
  if (request.cancelAfter === null) return pooled.text === single.text && pooled.finishReason === single.finishReason;
  return pooled.text !== '' && single.text.startsWith(pooled.text);
}

export function failureOf(pooled: StreamResult, single: StreamResult): string | null {
  return pooled.error ?? (single.error === null ? null : `one engine alone: ${single.error}`);
}

export function endedAsScripted(request: ScriptedRequest, result: { readonly finishReason: string | null }): boolean {
  const reasons = request.cancelAfter === null ? ['stop', 'length'] : ['cancelled'];
  return result.finishReason !== null && reasons.includes(result.finishReason);
}

export function nothingLeft(leftovers: Leftovers): boolean {
  return Object.values(leftovers).every((count) => count === 0);
}
