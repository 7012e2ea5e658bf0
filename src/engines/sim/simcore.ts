import type { EngineCore, EngineRequest, GenerateSink, HandOffTicket, Session } from '../port.ts';

/** What vLLM's face needs besides. */
export interface SimCore extends EngineCore {
  /** As `generate`; with `keepAs` the prompt's HBM stays for a peer, under that name, when the request ends by itself. */
  generate(request: SimRequest, sink: GenerateSink): Session;
  /** Tells a peer that nobody is going to read what it keeps. */
  notify(ticket: HandOffTicket): void;
  /** Ends the engine's core for good, as params that do not fit do: every request fails from now on. */
  die(): void;
  readonly dead: boolean;
  nixlCounters(): NixlCounters;
  /** Calls back for every pull: KV bytes and milliseconds. */
  onPulled(listener: (bytes: number, ms: number) => void): void;
}

export interface SimRequest extends EngineRequest {
  readonly keepAs?: string | null;
}

export interface NixlCounters {
  readonly failedNotifications: number;
  readonly notificationsAfterExpiry: number;
}
