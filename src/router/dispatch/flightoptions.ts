import type { SluiceError } from '../../shared/index.ts';
import type { ParsedRequest, TraceContext } from '../edge/index.ts';
import type { Instance } from '../instances/instance.ts';
import type { DispatchContext } from './context.ts';
import type { Subject } from './dialects/index.ts';

export interface FlightOptions {
  readonly id: string;
  readonly model: string;
  readonly tenant: string;
  readonly salt: string;
  readonly trace: TraceContext | null;
  /** Probes want the whole way, and are kept out of records and metrics. */
  readonly probe: boolean;
}

/** Why an attempt is lost. */
export interface Fault {
  /** Left out of the attempts to come. */
  readonly culprit: Instance | null;
  /** Left out too: nobody knows which of the two it was. */
  readonly partner?: Instance | null;
  readonly error: SluiceError;
  /** No fault of the culprit: it has no room, or ends on purpose. */
  readonly innocent?: boolean;
}

/** The request as all of its legs are spoken. @param options `startedAt` in Unix milliseconds */
export function subjectOf(
  { deadlines, clock, newSeed, newSession, newRoom }: DispatchContext,
  request: ParsedRequest,
  { id, salt, trace, startedAt }: FlightOptions & { readonly startedAt: number },
): Subject {
  // A seed is harmless for greedy requests; for sampled ones it is what makes them resumable.
  const seed = request.hasSeed ? null : newSeed();
  const created = Math.floor(startedAt / 1000);
  return { request, id, salt, created, seed, deadlines, clock, trace: trace?.lines ?? '', session: newSession(), newRoom };
}
