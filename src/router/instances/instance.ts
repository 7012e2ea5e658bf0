/** One instance as the router knows it: published by the controller, described and measured by its feed, loaded by our own requests. */
import { FREE_COSTS } from '../../api/index.ts';
import type { EngineCosts, EngineInfo, EngineLoad, Role } from '../../engines/index.ts';
import type { InstanceView } from '../placement/index.ts';
import { Breaker } from './breaker.ts';
import type { Endpoint } from './endpoint.ts';
import { Pulse } from './pulse.ts';
import { Recent } from './recent.ts';
import { Spread } from './spread.ts';

/** What one request takes of an instance while it is on it. */
export interface Reservation {
  readonly prefillTokens: number;
  readonly contextTokens: number;
}

export class Instance implements InstanceView {
  readonly id: string;
  readonly incarnation: string;
  readonly role: Role;
  /** Where its feed is. */
  readonly published: Endpoint;
  readonly breaker = new Breaker();
  readonly ttft = new Recent();
  readonly tpot = new Recent();
  readonly pulse: Pulse;
  /** Of prefill legs. */
  readonly prefillSpread = new Spread();
  draining = false;
  /** A request went well through it, a probe or a client's: for a prefill instance up to the decode instance's answer. */
  proven = false;
  /** Null while the feed is down. */
  info: EngineInfo | null = null;
  load: EngineLoad | null = null;
  lostBecause: string | null = 'not connected yet';
  inFlight = 0;
  promptTokens = 0;
  reusedTokens = 0;
  #requests: Endpoint;
  #reservedPrefill = 0;
  #reservedContext = 0;

  constructor(options: { id: string; incarnation: string; role: Role; published: Endpoint; now: number }) {
    this.id = options.id;
    this.incarnation = options.incarnation;
    this.role = options.role;
    this.published = options.published;
    this.#requests = options.published;
    this.pulse = new Pulse(options.now);
  }

  /** Where its requests go. */
  get requests(): Endpoint {
    return this.#requests;
  }

  /** @param endpoint the engine's own; null = requests go where the feed is. */
  servedBy(endpoint: Endpoint | null): void {
    if (this.#requests !== this.published) this.#requests.pool.close();
    this.#requests = endpoint ?? this.published;
  }

  /** Idle connections are closed; requests that are still on it keep theirs. */
  closeEndpoints(): void {
    this.published.pool.close();
    this.#requests.pool.close();
  }

  get connected(): boolean {
    return this.info !== null && this.load !== null;
  }

  /** There, alive and not draining. Whether it fails too often is the breaker's word. */
  get usable(): boolean {
    return this.connected && !this.draining && this.load?.draining !== true && !this.breaker.broken;
  }

  /** There, but it, or the engine behind its agent, says nothing: used only when nobody else is there. */
  get silent(): boolean {
    return this.pulse.silence !== null;
  }

  get costs(): EngineCosts {
    return this.load?.costs ?? FREE_COSTS;
  }

  get maxSequences(): number {
    return this.info?.maxSequences ?? 1;
  }

  /** The engine's report is up to 200 ms old and knows other routers' requests; ours are known at once. */
  get running(): number {
    return Math.max(this.inFlight, this.load ? this.load.running + this.load.waiting : 0);
  }

  get pendingPrefillTokens(): number {
    return Math.max(this.#reservedPrefill, this.load?.pendingPrefillTokens ?? 0);
  }

  get contextTokens(): number {
    return Math.max(this.#reservedContext, this.load?.contextTokens ?? 0);
  }

  get reservedTokens(): number {
    return this.#reservedPrefill + this.#reservedContext;
  }

  reserve({ prefillTokens, contextTokens }: Reservation): void {
    this.inFlight += 1;
    this.#reservedPrefill += prefillTokens;
    this.#reservedContext += contextTokens;
  }

  /** The prompt is prefilled; the request goes on. */
  prefilled(tokens: number): void {
    this.#reservedPrefill -= tokens;
  }

  release({ prefillTokens, contextTokens }: Reservation): void {
    this.inFlight -= 1;
    this.#reservedPrefill -= prefillTokens;
    this.#reservedContext -= contextTokens;
  }
}
