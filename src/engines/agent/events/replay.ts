/** One question to an engine's replay socket and its answers. */
import { Dealer } from 'zeromq';
import { MAX_PAYLOAD_BYTES } from './decode.ts';
import { EventFormatError } from './event.ts';
import { type PublishedMessage, readReplayed, replayRequest } from './frames.ts';

/** Answers that may wait unread; the engine keeps no more steps than this unless told to. */
const QUEUED_ANSWERS = 20_000;

export interface ReplayOptions {
  readonly endpoint: string;
  /** Longest silence between two answers, in milliseconds. */
  readonly answerMs: number;
  /** Ends the replay: it then counts as silent. */
  readonly signal: AbortSignal;
}

/**
 * Asks for all messages from `from` on and hands them to `take` in the order in which they come, until it says no.
 *
 * The engine's socket drops answers when they come faster than they are read, the last one too: `complete` says that there was a last
 * one, not that none is missing.
 *
 * @returns `complete`: there was a last answer; `stopped`: `take` said no; `silent`: no answer came in time, or one that is none.
 */
export async function replay(
  options: ReplayOptions,
  from: number,
  take: (message: PublishedMessage) => boolean,
): Promise<'complete' | 'stopped' | 'silent'> {
  const { endpoint, answerMs, signal } = options;
  if (signal.aborted) return 'silent';
  // A socket of its own per question: what is left of the answers to an earlier one can not come here.
  const dealer = new Dealer({
    linger: 0,
    receiveTimeout: answerMs,
    sendTimeout: answerMs,
    receiveHighWaterMark: QUEUED_ANSWERS,
    maxMessageSize: MAX_PAYLOAD_BYTES,
  });
  const stop = () => dealer.close();
  signal.addEventListener('abort', stop, { once: true });
  try {
    dealer.connect(endpoint);
    await dealer.send(replayRequest(from));
    for (;;) {
      const message = readReplayed(await dealer.receive());
      if (message === null) return 'complete';
      if (!take(message)) return 'stopped';
    }
  } catch (error) {
    if (signal.aborted || isTimeout(error) || error instanceof EventFormatError) return 'silent';
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    dealer.close();
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
}
