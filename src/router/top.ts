/** The live table behind `sluice top`. Plain data. */
import type { StoreLoad, TierLoad } from '../engines/index.ts';
import type { Instance } from './instances/instance.ts';
import type { RouterParts } from './parts.ts';

export interface Percentiles {
  readonly p50: number | null;
  readonly p99: number | null;
}

export interface TopInstance {
  readonly id: string;
  readonly role: string;
  readonly state: 'ready' | 'draining' | 'lost' | 'open' | 'trying';
  readonly simulated: boolean;
  readonly inFlight: number;
  readonly running: number;
  readonly waiting: number;
  readonly hbm: TierLoad;
  readonly host: TierLoad;
  /** Null where there is none. With a shared store all instances show the same bytes. */
  readonly store: StoreLoad | null;
  readonly leases: number;
  /** Share of prompt tokens that its own memory or the store already had, 0 to 1; null before the first request. */
  readonly hitRate: number | null;
  readonly ttftMs: Percentiles;
  readonly tpotMs: Percentiles;
  readonly lostBecause: string | null;
}

export interface TopView {
  readonly model: string;
  readonly ready: boolean;
  readonly inFlight: number;
  readonly queued: number;
  readonly instances: readonly TopInstance[];
}

export function topView({ registry, admission, prober, context }: RouterParts): TopView {
  const now = context.clock.now();
  return {
    model: registry.model,
    ready: prober.ready,
    inFlight: admission.inFlight,
    queued: admission.queued,
    instances: registry.instances.map((instance) => row(instance, now)),
  };
}

const NO_MEMORY: TierLoad = { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 };

function row(instance: Instance, now: number): TopInstance {
  const { load } = instance;
  return {
    id: instance.id,
    role: instance.role,
    state: stateOf(instance, now),
    simulated: instance.info?.simulated ?? false,
    inFlight: instance.inFlight,
    running: load?.running ?? 0,
    waiting: load?.waiting ?? 0,
    hbm: load?.kv.hbm ?? NO_MEMORY,
    host: load?.kv.host ?? NO_MEMORY,
    store: load?.kv.store ?? null,
    leases: load?.leases ?? 0,
    hitRate: instance.promptTokens === 0 ? null : instance.reusedTokens / instance.promptTokens,
    ttftMs: { p50: instance.ttft.percentile(0.5), p99: instance.ttft.percentile(0.99) },
    tpotMs: { p50: instance.tpot.percentile(0.5), p99: instance.tpot.percentile(0.99) },
    lostBecause: instance.lostBecause,
  };
}

function stateOf(instance: Instance, now: number): TopInstance['state'] {
  if (!instance.connected) return 'lost';
  if (instance.draining || instance.emptied || instance.load?.draining) return 'draining';
  const breaker = instance.breaker.state(now);
  return breaker === 'closed' ? 'ready' : breaker;
}
