/** The place of a request that comes to a simulated engine from another instance. */
import { SluiceError } from '../../shared/index.ts';
import type { EngineRequest, GenerateSink, HeldRequest, Session } from '../port.ts';
import type { Pulled } from './sequence.ts';

export interface Holder {
  readonly request: EngineRequest;
  /** Why it cannot have a place; null = it has one. */
  readonly refusal: SluiceError | null;
  /** All that have a place; it adds and removes itself. */
  readonly kept: Set<HeldRequest>;
  readonly pull: (request: EngineRequest, signal: AbortSignal) => Promise<Pulled | null>;
  readonly start: (request: EngineRequest, sink: GenerateSink, pulled: Pulled | null) => Session;
  /** A place is free again. */
  readonly onLeft: () => void;
}

export function hold({ request, refusal, kept, pull, start, onLeft }: Holder): HeldRequest {
  const abort = new AbortController();
  const tokens = [...request.resumed];
  let pulled: Pulled | null = null;
  const known = (): EngineRequest => ({ ...request, resumed: Int32Array.from(tokens) });
  const leave = () => {
    if (kept.delete(held)) onLeft();
  };
  const check = () => {
    if (!kept.has(held)) throw refusal ?? over();
  };
  const held: HeldRequest = {
    placed: refusal === null ? Promise.resolve() : Promise.reject(refusal),
    pull: async (ticket, pullDeadlineMs) => {
      check();
      if (ticket.blocks > 0) pulled = await pull({ ...known(), ticket, pullDeadlineMs }, abort.signal);
      check();
      return pulled?.report ?? { blocks: 0, bytes: 0, ms: 0, moveMs: 0, failed: null };
    },
    // What is lacking is computed at the start, which takes its declared time then.
    follow: async (more) => {
      check();
      tokens.push(...more);
    },
    start: (sink) => {
      leave();
      return start(known(), sink, pulled);
    },
    cancel: () => {
      abort.abort();
      leave();
    },
  };
  if (refusal === null) kept.add(held);
  held.placed.catch(() => undefined);
  return held;
}

/** Of a request that never began. */
export function overSession(): Session {
  return { cancel: () => undefined, offer: () => Promise.reject(over()), stop: () => undefined };
}

function over(): SluiceError {
  return new SluiceError('not_found', 'the request is over');
}
