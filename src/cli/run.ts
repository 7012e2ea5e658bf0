/**
 * One ServingDeployment running on this machine: its platform, its control loop, and the file that tells others where it is.
 *
 * Invariants
 * - After `close` no process, temp file or run state is left.
 * - `ready` settles once: with the addresses, or with why it will not come up (a field that cannot be had, or an instance that
 *   keeps failing before anything served).
 */

import type { PinnedContext, ServingDeployment } from '../api/index.ts';
import { type Condition, desiredOf, heldBack, type Loop, type Round, type Status, startLoop, startPinLoop } from '../controller/index.ts';
import { type Observed, ProcessPlatform } from '../platform/index.ts';
import { systemClock } from '../shared/index.ts';
import type { Context } from './context.ts';
import { removeRunState, writeRunState } from './runstate.ts';
import { weightsPath } from './weights.ts';

export interface Addresses {
  readonly url: string;
  readonly adminUrl: string;
}

export type Readiness = { readonly ok: true; readonly addresses: Addresses } | { readonly ok: false; readonly why: string };

export interface RunOptions {
  readonly deployment: ServingDeployment;
  readonly context: Context;
  readonly onRound: (round: Round) => void;
  readonly onLine: (member: string, line: string) => void;
  /** Called after every look at a context that is pinned, with its condition Ready. */
  readonly onPinned?: (context: PinnedContext, ready: Condition) => void;
}

export interface Run {
  readonly name: string;
  /** The newest observation. */
  readonly observed: Observed;
  readonly status: Status | null;
  ready(): Promise<Readiness>;
  /** Wants this from now on. */
  update(deployment: ServingDeployment): void;
  /** Wants these contexts pinned from now on. */
  pin(contexts: readonly PinnedContext[]): void;
  processes(): readonly { readonly name: string; readonly pid: number }[];
  /** Lets accepted requests finish, then ends everything. Idempotent. */
  close(): Promise<{ readonly files: number }>;
  /** Ends every process now. */
  kill(): void;
}

/** Failures in a row of one process, before anything served, that mean that it will not come up. */
const HOPELESS_FAILURES = 3;

const ACTIVE_MS = 50;
const SETTLED_MS = 1_000;
/** While everything ends: time for accepted requests, then for the engines. */
const CLOSE_LIMITS = { routerMs: 30_000, instanceMs: 10_000 };
/** After the router's own deadline, or an instance's leases, something is wrong. */
const GRACE_MS = 5_000;

export function startRun({ deployment, context, onRound, onLine, onPinned = () => undefined }: RunOptions): Run {
  const { promise: readiness, resolve: settle } = Promise.withResolvers<Readiness>();
  const { spec, metadata } = deployment;
  let loop: Loop | null = null;
  let last: Round | null = null;
  let taken = deployment;
  let stateFile: (Addresses & { readonly path: string }) | null = null;
  let closing: Promise<{ files: number }> | null = null;

  const platform = new ProcessPlatform({
    executable: context.executable,
    entry: context.entry,
    host: '127.0.0.1',
    environment: context.childEnv,
    tempRoot: context.tempFolder,
    clock: systemClock,
    modelPath: (source, engine) => weightsPath(source, engine, context.cacheFolder),
    onChange: () => {
      loop?.wake();
      pins.wake();
    },
    onLine,
    instanceStopMs: spec.kv.leaseMs + GRACE_MS,
    routerStopMs: spec.router.deadlines.totalMs + GRACE_MS,
  });

  const pins = startPinLoop({
    clock: systemClock,
    adminUrls: () =>
      last?.observed.routers.flatMap(({ phase, adminUrl }) => (phase === 'ready' && adminUrl !== null ? adminUrl : [])) ?? [],
    engine: () => taken.spec.engine.type,
    onRound: onPinned,
  });

  function afterRound(round: Round): void {
    last = round;
    const addresses = addressesOf(round.observed);
    // A router that takes the place of another has the same address for clients, and another one for us.
    const isTold = stateFile?.url === addresses?.url && stateFile?.adminUrl === addresses?.adminUrl;
    if (addresses && !isTold && !closing) {
      if (stateFile) removeRunState(stateFile.path);
      const path = writeRunState(context.runtimeFolder, { name: metadata.name, pid: process.pid, ...addresses });
      stateFile = { path, ...addresses };
    }
    const obstacle = obstacleIn(round);
    if (obstacle !== null) settle({ ok: false, why: obstacle });
    else if (addresses && round.status.conditions.some((one) => one.type === 'Ready' && one.status)) settle({ ok: true, addresses });
    onRound(round);
  }

  async function close(): Promise<{ files: number }> {
    settle({ ok: false, why: 'it was ended before it was ready' });
    await Promise.all([loop?.stop(), pins.stop()]);
    const { files } = await platform.close(CLOSE_LIMITS);
    if (stateFile) removeRunState(stateFile.path);
    return { files };
  }

  loop = startLoop(desiredOf(deployment), {
    platform,
    clock: systemClock,
    activeMs: ACTIVE_MS,
    settledMs: SETTLED_MS,
    onRound: afterRound,
  });
  return {
    name: metadata.name,
    get observed() {
      return last?.observed ?? { instances: [], routers: [], takenNames: [] };
    },
    get status() {
      return last?.status ?? null;
    },
    ready: () => readiness,
    update(next) {
      const { paused } = next.spec.rollout;
      if (!paused) taken = next;
      loop?.want(desiredOf(paused ? heldBack(taken, next) : next));
    },
    pin: (contexts) => pins.want(contexts),
    processes: () => platform.processes(),
    close() {
      closing ??= close();
      return closing;
    },
    kill: () => platform.killAll(),
  };
}

function addressesOf({ routers }: Observed): Addresses | null {
  const router = routers.find((one) => one.phase === 'ready' && one.url !== null && one.adminUrl !== null);
  return router?.url && router.adminUrl ? { url: router.url, adminUrl: router.adminUrl } : null;
}

/** Why it will not come up, as far as one can tell; null = it may. Only asked for until something served. */
function obstacleIn({ done, observed }: Round): string | null {
  for (const { outcome } of done) {
    if (!outcome.ok && outcome.field !== null) return `${outcome.field}: ${outcome.message}`;
  }
  const hopeless = [...observed.instances, ...observed.routers].find((one) => one.failures >= HOPELESS_FAILURES);
  return hopeless ? `${hopeless.name} failed ${hopeless.failures} times in a row, last: ${hopeless.lastError ?? 'without a word'}` : null;
}
