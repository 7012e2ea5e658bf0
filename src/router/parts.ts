/** What a router process is made of; put together in router.ts. */
import type { Logger } from '../telemetry/index.ts';
import type { SpanExporter } from '../telemetry/traces/index.ts';
import type { Admission } from './admission/admission.ts';
import type { RouterConfig } from './config.ts';
import type { DispatchContext } from './dispatch/context.ts';
import type { Mover } from './dispatch/moves/index.ts';
import type { TraceContext } from './edge/index.ts';
import type { Forwarder } from './forward.ts';
import type { Registry } from './instances/registry.ts';
import type { BlockSources } from './kv/sources.ts';
import type { RouterMetrics } from './metrics.ts';
import type { Prober } from './prober.ts';
import type { RecordRing } from './record/index.ts';
import type { RequestTrace } from './traces/index.ts';

export interface UnderWay {
  begin(): void;
  end(): void;
}

export interface RouterParts {
  readonly config: RouterConfig;
  readonly log: Logger;
  readonly registry: Registry;
  readonly admission: Admission;
  readonly forwarder: Forwarder;
  readonly context: DispatchContext;
  readonly records: RecordRing;
  readonly metrics: RouterMetrics;
  readonly prober: Prober;
  readonly mover: Mover;
  /** Null = no spans are made. */
  readonly spans: SpanExporter | null;
  readonly traced: (client: TraceContext | null) => RequestTrace | null;
  /** Null = instances' feeds tell what they hold. */
  readonly sources: BlockSources | null;
  /** Clients' requests that have not ended. */
  readonly underWay: UnderWay;
  readonly newId: () => string;
  readonly stopping: () => boolean;
  /** Unix milliseconds. */
  readonly startedAt: number;
}
