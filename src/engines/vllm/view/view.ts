/** What a vLLM holds and how loaded it is, put together from its KV events and its metrics. */
import type { KvEventEnvelope, KvSnapshot } from '../../../kv/index.ts';
import type { Clock } from '../../../shared/index.ts';
import type { EngineCosts, EngineInfo, EngineLoad } from '../../port.ts';
import { EVENT_TOPIC, type VllmPorts } from '../command.ts';
import { BlockLedger, EventSubscriber } from '../events/index.ts';
import { MetricsFormatError, MetricsView } from '../metrics/index.ts';

export interface VllmView {
  snapshot(): KvSnapshot;
  /** Calls back for every event after the current snapshot; returns how to stop. */
  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void;
  /** @param text vLLM's metrics page, read at `nowMs` */
  scraped(text: string, nowMs: number): void;
  load(draining: boolean): EngineLoad;
}

export interface ViewOptions {
  readonly info: EngineInfo;
  readonly host: string;
  readonly ports: VllmPorts;
  readonly clock: Clock;
  readonly warn: (text: string) => void;
}

/** Follows what an engine holds, and waits for what its work costs. */
export interface OpenedView {
  /** @param costs measured by first requests; better ones are learnt */
  withCosts(costs: EngineCosts): VllmView;
  close(): Promise<void>;
}

/** Resolves when it is up to date with what the engine has announced so far. */
export type OpenView = (options: ViewOptions) => Promise<OpenedView>;

export const openView: OpenView = async ({ info, host, ports, clock, warn }) => {
  const { incarnation, identity, bytesPerBlock, contextTokens } = info;
  const ledger = new BlockLedger({ incarnation, identity });
  const subscriber = new EventSubscriber({
    endpoint: endpointOf(host, ports.events),
    replayEndpoint: endpointOf(host, ports.replay),
    topic: EVENT_TOPIC,
    ledger,
    clock,
    warn,
  });
  await subscriber.start();
  return {
    close: () => subscriber.close(),
    withCosts(costs) {
      const metrics = new MetricsView({ bytesPerBlock, blockTokens: identity.blockTokens, contextTokens }, costs);
      return viewOf({ ledger, metrics, warn });
    },
  };
};

interface Parts {
  readonly ledger: BlockLedger;
  readonly metrics: MetricsView;
  readonly warn: (text: string) => void;
}

function viewOf({ ledger, metrics, warn }: Parts): VllmView {
  return {
    snapshot: () => ledger.snapshot(),
    onEvent: (listener) => ledger.onEvent(listener),
    scraped(text, nowMs) {
      try {
        metrics.scraped(text, nowMs);
        ledger.limitHbm(metrics.hbmBlocks ?? 0);
      } catch (thrown) {
        if (!(thrown instanceof MetricsFormatError)) throw thrown;
        warn(`vLLM's metrics could not be read: ${thrown.message}`);
      }
    },
    load: (draining) => metrics.load({ held: ledger.held, draining }),
  };
}

/** The publisher listens on all addresses of the machine. */
function endpointOf(host: string, port: number): string {
  const address = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `tcp://${address.includes(':') ? `[${address}]` : address}:${port}`;
}
