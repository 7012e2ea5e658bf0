/**
 * Requests that move between instances while they decode: blocks of a running one for a peer, and the place of one that comes.
 *
 * The context belongs to the scheduler's loop, so whatever touches it runs there between two steps, in pieces: every stream of the
 * instance waits for a piece, and none may wait long.
 */
import { SluiceError } from '../../shared/index.ts';
import type {
  FinishReason,
  GenerateSink,
  HandOffReport,
  HandOffTicket,
  HeldRequest,
  PromptReport,
  Session,
  TokenLogprobs,
} from '../port.ts';
import type { KvCache } from './cache.ts';
import type { Scheduler } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import type { Slot } from './slots.ts';

/** Blocks copied out between two steps at least. */
const PIECE_BLOCKS = 64;
/** Pieces at most: each reads the whole state, of which llama.cpp gives no parts. */
const MAX_PIECES = 8;

export interface MovesOptions {
  readonly scheduler: Scheduler;
  readonly cache: KvCache;
  readonly blockTokens: number;
  readonly now: () => number;
  /** A ticket for the leading blocks that host memory holds, under a lease. */
  readonly ticketFor: (keys: readonly string[]) => HandOffTicket;
  readonly releaseLease: (lease: string) => void;
  /** Pulls what the ticket offers from block `from` on into `sequence.pulled`. */
  readonly pull: (sequence: Sequence, ticket: HandOffTicket, bounds: { from: number; deadlineMs: number }) => Promise<void>;
}

export class Moves {
  readonly #options: MovesOptions;

  constructor(options: MovesOptions) {
    this.#options = options;
  }

  /** The running request as whoever moves it sees it. */
  session(sequence: Sequence): Session {
    const { scheduler } = this.#options;
    let lease = '';
    return {
      cancel: () => {
        sequence.abort.abort();
        scheduler.wake();
      },
      offer: async () => {
        const ticket = await this.#offer(sequence);
        if (lease !== '') this.#options.releaseLease(lease);
        lease = ticket.lease;
        return ticket;
      },
      stop: () => {
        sequence.stopAsked = true;
      },
    };
  }

  async #offer(sequence: Sequence): Promise<HandOffTicket> {
    const { scheduler, cache, blockTokens } = this.#options;
    const count = Math.floor(sequence.computed / blockTokens);
    const piece = Math.max(PIECE_BLOCKS, Math.ceil(count / MAX_PIECES));
    let kept = 0;
    for (let to = Math.min(piece, count); ; to = Math.min(to + piece, count)) {
      const asked = to;
      kept = await scheduler.between(() => {
        placeOf(sequence);
        return cache.keepInHost(sequence, asked);
      });
      if (kept < asked || asked === count) break;
    }
    return this.#options.ticketFor(sequence.keys.slice(0, kept));
  }

  /** Takes the place of a request that comes; `enter` makes its sequence, or says why there is none. */
  hold(enter: (sink: GenerateSink) => Sequence | SluiceError): HeldRequest {
    const { scheduler, now } = this.#options;
    const sink = new HeldSink();
    const sequence = scheduler.waiting.some((one) => !one.held && !one.fetching) ? crowded() : enter(sink);
    if (sequence instanceof SluiceError) return refused(sequence);
    sequence.held = true;
    sequence.filling = true;
    const placed = Promise.race([new Promise<void>((resolve) => (sequence.onPlaced = resolve)), sink.failed]);
    // Whoever holds it may not ask any more when it fails.
    placed.catch(() => undefined);
    scheduler.enqueue(sequence);
    const session = this.session(sequence);
    return {
      placed,
      pull: (ticket, deadlineMs) => this.#pull(sequence, ticket, deadlineMs),
      follow: (tokens) => this.#follow(sequence, sink, tokens),
      start: (target) => {
        sequence.held = false;
        sequence.filling = false;
        sequence.onCaughtUp();
        sequence.startedAt = now();
        sink.goTo(target);
        scheduler.wake();
        return session;
      },
      cancel: () => session.cancel(),
    };
  }

  async #pull(sequence: Sequence, ticket: HandOffTicket, deadlineMs: number): Promise<HandOffReport> {
    const { scheduler, cache, pull } = this.#options;
    const from = await scheduler.between(() => placeOf(sequence).keys.length);
    if (ticket.blocks > 0) await pull(sequence, ticket, { from, deadlineMs });
    await scheduler.between(() => {
      placeOf(sequence);
      cache.fill(sequence);
    });
    const { blocks = 0, bytes = 0, ms = 0, failed = null } = sequence.pullResult ?? {};
    return { blocks, bytes, ms: ms + sequence.loadMs, moveMs: ms, failed };
  }

  async #follow(sequence: Sequence, sink: HeldSink, tokens: Int32Array): Promise<void> {
    const { scheduler } = this.#options;
    placeOf(sequence);
    if (!sequence.held) throw new SluiceError('not_found', 'the request is no longer held');
    sequence.follow(tokens);
    sequence.filling = false;
    if (sequence.parked) return;
    const { onCaughtUp } = sequence;
    const caughtUp = new Promise<void>((resolve) => {
      sequence.onCaughtUp = () => {
        sequence.onCaughtUp = () => undefined;
        onCaughtUp(); // of one that came before it and has not been answered
        resolve();
      };
    });
    scheduler.wake();
    await Promise.race([caughtUp, sink.failed]);
  }
}

/** Before the start nobody listens but those who hold the request. */
class HeldSink implements GenerateSink {
  /** Rejects when the request ends before its start. */
  readonly failed: Promise<never>;
  #reject: (error: SluiceError) => void = () => undefined;
  #error: SluiceError | null = null;
  #target: GenerateSink | null = null;

  constructor() {
    this.failed = new Promise((_, reject) => (this.#reject = reject));
    this.failed.catch(() => undefined);
  }

  goTo(target: GenerateSink): void {
    this.#target = target;
    const error = this.#error;
    if (error !== null) queueMicrotask(() => target.error(error));
  }

  start(report: PromptReport): void {
    this.#target?.start(report);
  }

  token(token: number, logprobs: TokenLogprobs | null): void {
    this.#target?.token(token, logprobs);
  }

  end(reason: FinishReason): void {
    if (this.#target) this.#target.end(reason);
    else this.error(over());
  }

  error(error: SluiceError): void {
    this.#error = error;
    if (this.#target) this.#target.error(error);
    else this.#reject(error);
  }
}

/** @throws SluiceError not_found when the request is over */
function placeOf(sequence: Sequence): Slot {
  if (sequence.slot === null || sequence.abort.signal.aborted) throw over();
  return sequence.slot;
}

function over(): SluiceError {
  return new SluiceError('not_found', 'the request is over');
}

function crowded(): SluiceError {
  return new SluiceError('queue_full', 'requests wait for a place on this instance already', { retryAfterSeconds: 1 });
}

function refused(error: SluiceError): HeldRequest {
  const reject = () => Promise.reject(error);
  return {
    placed: reject(),
    pull: reject,
    follow: reject,
    start: (sink) => {
      queueMicrotask(() => sink.error(error));
      return overSession();
    },
    cancel: () => undefined,
  };
}

/** Of a request that never began. */
export function overSession(): Session {
  return { cancel: () => undefined, offer: () => Promise.reject(over()), stop: () => undefined };
}
