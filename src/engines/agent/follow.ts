/** Follows an engine by its KV events and its metrics. Brings a native library: to be loaded while the engine loads its model. */
import type { EngineCosts, EngineLoad } from '../port.ts';
import { BlockLedger, EventSubscriber } from './events/index.ts';
import { EVENT_TOPIC } from './kind.ts';
import { MetricsFormatError } from './metrics/parse.ts';
import type { OpenedView, ViewOptions } from './view.ts';

/** An engine's metrics page, understood. */
export interface MetricsReader {
  /** @throws MetricsFormatError when the page is not the engine's; the reading before stays */
  scraped(page: string, nowMs: number): void;
  /** Blocks that HBM has room for; null = not known yet. */
  readonly hbmBlocks: number | null;
  load(context: { readonly held: { readonly hbm: number; readonly host: number }; readonly draining: boolean }): EngineLoad;
}

/** @param metricsFrom costs measured by first requests */
export async function openEngineView(options: ViewOptions, metricsFrom: (costs: EngineCosts) => MetricsReader): Promise<OpenedView> {
  const { info, host, ports, clock, warn } = options;
  const ledger = new BlockLedger({ incarnation: info.incarnation, identity: info.identity });
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
      const metrics = metricsFrom(costs);
      return {
        snapshot: () => ledger.snapshot(),
        onEvent: (listener) => ledger.onEvent(listener),
        scraped(text, nowMs) {
          try {
            metrics.scraped(text, nowMs);
            ledger.limitHbm(metrics.hbmBlocks ?? 0);
          } catch (thrown) {
            if (!(thrown instanceof MetricsFormatError)) throw thrown;
            warn(`the engine's metrics could not be read: ${thrown.message}`);
          }
        },
        load: (draining) => metrics.load({ held: ledger.held, draining }),
      };
    },
  };
}

/** The publisher listens on all addresses of the machine. */
function endpointOf(host: string, port: number): string {
  const address = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `tcp://${address.includes(':') ? `[${address}]` : address}:${port}`;
}
