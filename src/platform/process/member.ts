/**
 * One member of a deployment, an instance or a router, over all its incarnations: the process that runs now, what it said, and how
 * the last one ended.
 */
import type { Clock } from '../../shared/index.ts';
import type { Phase } from '../port.ts';
import { isRecord } from '../probe.ts';
import { type Child, startChild } from './child.ts';

/** A while of service after which earlier failures are forgotten. */
const STABLE_MS = 60_000;

export interface MemberOptions {
  readonly executable: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** It said that it listens or that it is ready, or ended. */
  readonly onChange: () => void;
  readonly onLine: (line: string) => void;
}

export class Member {
  readonly revision: string;
  phase: Phase = 'starting';
  startedMs = 0;
  /** When its start last went on: then it began, or said so. */
  progressMs = 0;
  readyMs: number | null = null;
  failedMs: number | null = null;
  failures = 0;
  lastError: string | null = null;
  /** What the process sent when it began to listen. */
  hello: Readonly<Record<string, unknown>> | null = null;
  /** Probes in a row without a good answer, and when the last one was sent. */
  silentProbes = 0;
  probedMs: number | null = null;
  #child: Child | null = null;
  #killedFor: string | null = null;

  constructor(revision: string) {
    this.revision = revision;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  get running(): boolean {
    return this.#child?.running ?? false;
  }

  /** Asked to end, and gone. */
  get ended(): boolean {
    return this.phase === 'stopping' && !this.running;
  }

  start(options: MemberOptions): void {
    const { clock, onChange } = options;
    this.phase = 'starting';
    this.startedMs = clock.now();
    this.progressMs = this.startedMs;
    this.readyMs = null;
    this.failedMs = null;
    this.hello = null;
    this.silentProbes = 0;
    this.probedMs = null;
    this.#killedFor = null;
    this.#child = startChild({
      ...options,
      onMessage: (message) => {
        if (!isRecord(message)) return;
        if (message['type'] === 'starting') this.progressMs = clock.now();
        if (message['type'] === 'listening') this.hello = message;
        if (message['type'] === 'listening' || message['type'] === 'ready') onChange();
      },
      onExit: (why) => {
        if (this.phase !== 'stopping') this.fail(clock.now(), this.#killedFor === null ? why : `${this.#killedFor}: ${why}`);
        onChange();
      },
    });
  }

  /** Notes an end that nobody asked for, or a start that did not come about. */
  fail(nowMs: number, why: string): void {
    const wasStable = this.readyMs !== null && nowMs - this.readyMs >= STABLE_MS;
    this.failures = wasStable ? 1 : this.failures + 1;
    this.phase = 'failed';
    this.failedMs = nowMs;
    this.lastError = why;
    this.hello = null;
  }

  markReady(nowMs: number): void {
    this.phase = 'ready';
    this.readyMs = nowMs;
    this.silentProbes = 0;
  }

  /** Asks the process to end; see `Child.end`. */
  stop(killAfterMs: number): void {
    this.phase = 'stopping';
    this.#child?.end(killAfterMs);
  }

  /** Ends a process that misbehaves; it counts as failed for this reason. */
  kill(why: string): void {
    this.#killedFor = why;
    this.#child?.kill();
  }

  async gone(): Promise<void> {
    await this.#child?.gone;
  }
}
