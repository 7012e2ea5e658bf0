/**
 * The control loop of one ServingDeployment: observe, plan, apply, report, again. Level-triggered: it keeps nothing but what is
 * wanted now.
 */
import { isSettled } from '../../api/index.ts';
import type { Observed, Platform } from '../../platform/index.ts';
import { type Clock, sleep } from '../../shared/index.ts';
import { apply, type Done } from './apply.ts';
import type { Desired } from './desired.ts';
import { plan } from './plan.ts';
import { type Status, status } from './status.ts';

export interface LoopOptions {
  readonly platform: Platform;
  readonly clock: Clock;
  /** Milliseconds between rounds while something changes, and while nothing does. In between while a change keeps it waiting. */
  readonly activeMs: number;
  readonly settledMs: number;
  /** Called after every round. */
  readonly onRound: (round: Round) => void;
}

export interface Round {
  readonly desired: Desired;
  readonly observed: Observed;
  readonly status: Status;
  readonly done: readonly Done[];
}

export interface Loop {
  /** Replaces what is wanted; the next round acts on it. */
  want(desired: Desired): void;
  /** Looks again soon: something happened. */
  wake(): void;
  /** Ends after the round in progress. */
  stop(): Promise<void>;
}

/** Of the time that it has waited already: a look takes processor time from those whose start it waits for. */
const SHARE_OF_WAIT = 0.05;

export function startLoop(desired: Desired, options: LoopOptions): Loop {
  let wanted = desired;
  let awake = new AbortController();
  let stirredMs = options.clock.now();
  const stopping = new AbortController();

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      awake = new AbortController();
      const round = await reconcile(wanted, options);
      options.onRound(round);
      if (round.done.length > 0) stirredMs = options.clock.now();
      await sleep(options.clock, pauseMs(round), awake.signal, stopping.signal);
    }
  }

  function pauseMs({ done, status: { conditions } }: Round): number {
    const { activeMs, settledMs, clock } = options;
    if (done.length === 0 && conditions.every(isSettled)) return settledMs;
    return Math.min(settledMs, Math.max(activeMs, SHARE_OF_WAIT * (clock.now() - stirredMs)));
  }

  function wake(): void {
    stirredMs = options.clock.now();
    awake.abort();
  }

  const running = run();
  return {
    want(next) {
      wanted = next;
      wake();
    },
    wake,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

async function reconcile(desired: Desired, options: Pick<LoopOptions, 'platform' | 'clock'>): Promise<Round> {
  const observed = await options.platform.observe();
  const steps = plan(desired, observed, options.clock.now());
  const done = await apply(options.platform, steps);
  return { desired, observed, status: status(desired, observed), done };
}
