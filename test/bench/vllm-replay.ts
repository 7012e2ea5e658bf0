/**
 * Plays requests of a trace against one front. A turn of a conversation waits for the answer to the turn before it, as a person does;
 * apart from that nothing waits for answers, so that a slow front can not thin out its own load. Latency counts from the time that a
 * request was free to start.
 */
import { type Outcome, streamCompletion } from './vllm-client.ts';

export interface Planned {
  /** Milliseconds from the begin of the run. */
  readonly atMs: number;
  /** Index of the request that must have ended before; null = none. */
  readonly after: number | null;
  readonly body: string;
  readonly tokens: number;
}

export interface Played {
  readonly outcome: Outcome;
  /** Milliseconds from the begin of the run. */
  readonly startedMs: number;
  readonly endedMs: number;
}

/** Open loop. Requests that have no answer `patienceMs` after the last one was due count as failed. */
export async function replay(url: string, plan: readonly Planned[], patienceMs: number): Promise<Played[]> {
  const began = performance.now();
  const signal = AbortSignal.timeout(Math.ceil((plan.at(-1)?.atMs ?? 0) + patienceMs));
  const playing: Promise<Played>[] = [];
  for (const { atMs, after, body, tokens } of plan) {
    const before = after === null ? undefined : playing[after];
    playing.push(
      (async () => {
        await Promise.all([before, pause(began + atMs - performance.now())]);
        const startedMs = performance.now() - began;
        const outcome = await streamCompletion({ url, body, tokens }, signal);
        return { outcome, startedMs, endedMs: performance.now() - began };
      })(),
    );
  }
  return Promise.all(playing);
}

export interface Saturated {
  readonly outcomes: readonly Outcome[];
  readonly wallMs: number;
}

export interface Closed {
  readonly connections: number;
  readonly seconds: number;
  /** For answers under way when the time is over. */
  readonly patienceMs: number;
}

/** Closed loop: as many requests as connections are under way all the time, taken in order, until the time is over. */
export async function saturate(url: string, plan: readonly Planned[], { connections, seconds, patienceMs }: Closed): Promise<Saturated> {
  const began = performance.now();
  const until = began + seconds * 1000;
  const signal = AbortSignal.timeout(Math.ceil(seconds * 1000 + patienceMs));
  const outcomes: Promise<Outcome>[] = [];
  const turn = async (): Promise<void> => {
    const next = plan[outcomes.length];
    if (next === undefined || performance.now() >= until) return;
    const before = next.after === null ? undefined : outcomes[next.after];
    const outcome = (async () => {
      await before;
      return streamCompletion({ url, body: next.body, tokens: next.tokens }, signal);
    })();
    outcomes.push(outcome);
    await outcome;
    return turn();
  };
  await Promise.all(Array.from({ length: connections }, turn));
  return { outcomes: await Promise.all(outcomes), wallMs: performance.now() - began };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}
