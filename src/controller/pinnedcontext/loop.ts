/** The PinnedContexts of one deployment on this machine: rounds over all of them, until told to stop. */
import type { PinnedContext } from '../../api/index.ts';
import { type Clock, sleep } from '../../shared/index.ts';
import type { Condition } from '../servingdeployment/status.ts';
import { keepPinned, letGo, type PinPlace, pauseMs, wishOf } from './apply.ts';
import { PINNING_ENGINES } from './plan.ts';
import { PinReads } from './reads.ts';
import { type PinSeen, tellPinned } from './status.ts';

/** There is one deployment. */
const PLACE = 'here';

export interface PinLoopOptions {
  readonly clock: Clock;
  /** Admin addresses of the routers as of now. */
  readonly adminUrls: () => readonly string[];
  /** Of the deployment. */
  readonly engine: () => string;
  /** Called after every round over a context, with its condition Ready. */
  readonly onRound: (context: PinnedContext, ready: Condition) => void;
}

export interface PinLoop {
  /** Replaces what is wanted; the next round acts on it. */
  want(contexts: readonly PinnedContext[]): void;
  /** Looks again soon: something happened. */
  wake(): void;
  /** Ends after the round in progress; what is pinned ends with its instances, or for want of renewal. */
  stop(): Promise<void>;
}

export function startPinLoop(options: PinLoopOptions): PinLoop {
  const { clock, adminUrls, engine, onRound } = options;
  const stopping = new AbortController();
  let awake = new AbortController();
  let wanted: readonly PinnedContext[] = [];
  let pinned = new Set<string>();
  const reads = new PinReads(clock);
  const place = (): PinPlace => ({ reads, name: PLACE, adminUrls: adminUrls() });

  async function look(context: PinnedContext): Promise<number> {
    const seen: PinSeen = PINNING_ENGINES.has(engine())
      ? (await keepPinned(context, place())).seen
      : { kind: 'foreignEngine', wish: wishOf(context), engine: engine() };
    const told = tellPinned(seen);
    const ready = told.conditions.find(({ type }) => type === 'Ready');
    if (ready !== undefined) onRound(context, ready);
    return pauseMs(told);
  }

  async function round(): Promise<number> {
    const now = new Set(wanted.map((context) => wishOf(context).id));
    const gone = [...pinned].filter((id) => !now.has(id));
    pinned = now;
    await Promise.all(gone.map((id) => letGo(id, place())));
    const pauses = await Promise.all(wanted.map(look));
    return Math.min(Number.POSITIVE_INFINITY, ...pauses);
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      awake = new AbortController();
      reads.forget(PLACE);
      const waitMs = await round();
      const signals = [awake.signal, stopping.signal];
      if (waitMs === Number.POSITIVE_INFINITY) await anyOf(signals);
      else await sleep(clock, waitMs, ...signals);
    }
  }

  const running = run();
  return {
    want(contexts) {
      wanted = contexts;
      awake.abort();
    },
    wake: () => {
      if (wanted.length > 0) awake.abort();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** Until one of them falls. */
function anyOf(signals: readonly AbortSignal[]): Promise<void> {
  const any = AbortSignal.any([...signals]);
  return new Promise((resolve) => {
    if (any.aborted) resolve();
    else any.addEventListener('abort', () => resolve(), { once: true });
  });
}
