import type { SluiceError } from '../../shared/index.ts';
import type { ParsedRequest } from '../edge/index.ts';
import type { Instance } from '../instances/instance.ts';
import type { RequestRecord } from '../record/index.ts';
import { type Leg, linesFor, type RequestTrace } from '../traces/index.ts';
import type { DispatchContext } from './context.ts';
import type { Subject } from './dialects/index.ts';

export interface FlightOptions {
  readonly id: string;
  readonly model: string;
  readonly tenant: string;
  readonly salt: string;
  readonly trace: RequestTrace | null;
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

/** The request as all of its legs are spoken. @param record which says at any time which attempt it is */
export function subjectOf(
  { deadlines, clock, newSeed, newSession, newRoom }: DispatchContext,
  request: ParsedRequest,
  { id, salt, trace }: FlightOptions,
  record: Pick<RequestRecord, 'startedAt' | 'attempts'>,
): Subject {
  // A seed is harmless for greedy requests; for sampled ones it is what makes them resumable.
  const seed = request.hasSeed ? null : newSeed();
  const created = Math.floor(record.startedAt / 1000);
  const traceLines = (leg: Leg) => linesFor(trace, leg, record.attempts.length - 1);
  return { request, id, salt, created, seed, deadlines, clock, trace: traceLines, session: newSession(), newRoom };
}
