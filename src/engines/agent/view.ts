/** What an engine holds and how loaded it is, as its agent is told. Types only: what follows it brings a native library. */
import type { KvEventEnvelope, KvSnapshot } from '../../kv/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { EngineCosts, EngineInfo, EngineLoad } from '../port.ts';
import type { EnginePorts } from './kind.ts';

export interface EngineView {
  snapshot(): KvSnapshot;
  /** Calls back for every event after the current snapshot; returns how to stop. */
  onEvent(listener: (envelope: KvEventEnvelope) => void): () => void;
  /** @param text the engine's metrics page, read at `nowMs` */
  scraped(text: string, nowMs: number): void;
  load(draining: boolean): EngineLoad;
}

export interface ViewOptions {
  readonly info: EngineInfo;
  readonly host: string;
  readonly ports: EnginePorts;
  readonly clock: Clock;
  readonly warn: (text: string) => void;
}

/** Follows what an engine holds, and waits for what its work costs. */
export interface OpenedView {
  /** @param costs measured by first requests; better ones are learnt */
  withCosts(costs: EngineCosts): EngineView;
  close(): Promise<void>;
}

/** Resolves when it is up to date with what the engine has announced so far. */
export type OpenView = (options: ViewOptions) => Promise<OpenedView>;
