/** What an engine's `/health` says over time, and what follows from it. */
import { type Cancel, type Clock, sleep } from '../../shared/index.ts';
import type { EngineClient, Reply } from './client.ts';
import type { EngineKind } from './kind.ts';

/** Well, or why it is not (yet), or that it will never be again. */
export type Health =
  | { readonly state: 'well' }
  | { readonly state: 'silent'; readonly why: string }
  | { readonly state: 'dead'; readonly why: string };

/** Four and more a second, so that a dead engine is known within a second. */
export const HEALTH_EVERY_MS = 200;
const ANSWER_MS = 2_000;
/** Longer than the longest step that keeps a well API server from answering. */
const HUNG_MS = 15_000;
/** From here on the agent does not call itself well any more. */
const DOUBTFUL_MS = 3_000;

export type Judged = Pick<EngineKind, 'title' | 'deadAt503'>;

/** @param quietMs since the last good answer. Pure. */
export function judgeHealth(reply: Reply, quietMs: number, { title, deadAt503 }: Judged): Health {
  if (reply.ok && reply.status === 200) return { state: 'well' };
  if (reply.ok && reply.status === 503 && deadAt503) return { state: 'dead', why: `${title}'s engine core is dead: /health answers 503` };
  const why = reply.ok ? `/health answers ${reply.status}` : reply.why;
  if (quietMs < HUNG_MS) return { state: 'silent', why };
  return { state: 'dead', why: `${title} hangs: /health has not answered well for ${Math.round(quietMs / 1000)} s (${why})` };
}

export interface HealthWatchOptions {
  readonly client: EngineClient;
  readonly kind: Judged;
  readonly clock: Clock;
  /** Once; nothing is asked any more. */
  readonly onDead: (why: string) => void;
}

/** Asks an engine that has been well once, until it is dead or `stop` is called. */
export class HealthWatch {
  readonly #options: HealthWatchOptions;
  #wellAtMs: number;
  #cancel: Cancel = () => {};
  #stopped = false;

  constructor(options: HealthWatchOptions) {
    this.#options = options;
    this.#wellAtMs = options.clock.now();
    this.#later();
  }

  get well(): boolean {
    return !this.#stopped && this.quietMs < DOUBTFUL_MS;
  }

  /** Milliseconds since it was well last. */
  get quietMs(): number {
    return this.#options.clock.now() - this.#wellAtMs;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #later(): void {
    this.#cancel = this.#options.clock.after(HEALTH_EVERY_MS, () => void this.#ask());
  }

  async #ask(): Promise<void> {
    const { client, clock, kind, onDead } = this.#options;
    const reply = await client.get('/health', ANSWER_MS);
    if (this.#stopped) return;
    const health = judgeHealth(reply, clock.now() - this.#wellAtMs, kind);
    if (health.state === 'well') this.#wellAtMs = clock.now();
    if (health.state !== 'dead') return this.#later();
    this.stop();
    onDead(health.why);
  }
}

export interface StartWatchOptions {
  readonly client: EngineClient;
  readonly kind: Judged;
  readonly clock: Clock;
  /** Bytes that it has written so far. */
  readonly written: () => number;
  /** Grows while the start goes on: output, processor time. */
  readonly effort: () => number;
  /** Something has been done since the last call; at most every few seconds. */
  readonly onProgress: () => void;
  readonly signal: AbortSignal;
  /** Longest time for the whole start. */
  readonly startMs: number;
}

const PROGRESS_EVERY_MS = 3_000;
/** How often it is looked whether it has written something: that takes no time, which it needs now. */
const LOOK_MS = 25;
/** It serves a moment after it said that it does. */
const TALKATIVE_MS = 250;
/** A silent one is asked all the same. */
const SILENT_ASK_MS = 500;

/** Resolves null when the engine serves (or the signal aborts), else with why it will not. */
export async function untilServing(options: StartWatchOptions): Promise<string | null> {
  const { client, clock, kind, written, effort, onProgress, signal, startMs } = options;
  const startedAt = clock.now();
  let [bytes, wroteAt, askedAt] = [written(), startedAt, startedAt];
  let [seen, toldAt] = [effort(), startedAt];
  while (!signal.aborted) {
    if (written() !== bytes) [bytes, wroteAt] = [written(), clock.now()];
    if (clock.now() - wroteAt <= TALKATIVE_MS || clock.now() - askedAt >= SILENT_ASK_MS) {
      askedAt = clock.now();
      const health = judgeHealth(await client.get('/health', ANSWER_MS), 0, kind);
      if (health.state === 'well') return null;
      if (health.state === 'dead') return health.why;
    }
    const now = clock.now();
    if (now - startedAt > startMs)
      return `${kind.title} was not ready within ${Math.round(startMs / 1000)} s: give it longer with --start-ms`;
    if (now - toldAt >= PROGRESS_EVERY_MS) {
      toldAt = now;
      const done = effort();
      if (done > seen) onProgress();
      seen = done;
    }
    await sleep(clock, LOOK_MS, signal);
  }
  return null;
}
