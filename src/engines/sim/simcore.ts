import type { EngineCore, EngineRequest, GenerateSink, HandOffTicket, Session } from '../port.ts';
import type { Rooms } from './bootstrap/rooms.ts';

/** What the faces of vLLM and SGLang need besides. */
export interface SimCore extends EngineCore {
  /** As `generate`; with `keepAs` the prompt's HBM stays for a peer, under that name, when the request ends by itself. */
  generate(request: SimRequest, sink: GenerateSink): Session;
  /** Tells a peer that nobody is going to read what it keeps. */
  notify(ticket: HandOffTicket): void;
  /** Ends the engine's core for good, as params that do not fit do: every request fails from now on. */
  die(): void;
  readonly dead: boolean;
  /** Where SGLang's decode instances wait for this one; null = it is none of its prefill instances. */
  readonly rooms: Rooms | null;
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
