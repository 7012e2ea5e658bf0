/** One instance as the router knows it: published by the controller, described and measured by its feed, loaded by our own requests. */
import { FREE_COSTS } from '../../api/facts/index.ts';
import type { EngineCosts, EngineInfo, EngineLoad, Role } from '../../engines/index.ts';
import type { LinkPrice } from '../../kv/index.ts';
import type { InstanceView } from '../placement/index.ts';
import { Breaker } from './breaker.ts';
import { Burden } from './burden.ts';
import type { Endpoint } from './endpoint.ts';
import { Pulse } from './pulse.ts';
import { Recent } from './recent.ts';
import { Spread } from './spread.ts';

/** What one request takes of an instance while it is on it. */
export interface Reservation {
  readonly prefillTokens: number;
  readonly contextTokens: number;
}

/** Of a store's condition: nobody looks for anything there. */
const UNASKED: readonly string[] = ['Unavailable', 'Denied'];

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
  lostBecause: string | null = 'not connected yet';
  promptTokens = 0;
  reusedTokens = 0;
  /** Prompt tokens that were not computed, by where their KV was. */
  readonly reusedByTier = { hbm: 0, host: 0, peer: 0, store: 0 };
  #requests: Endpoint;
  #load: EngineLoad | null = null;
  readonly #requestCount = new Burden();
  readonly #prefill = new Burden();
  readonly #context = new Burden();

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

  /** It can take requests, and may be going to leave: the last resort of a stream. */
  get able(): boolean {
    return this.connected && this.load?.draining !== true && !this.breaker.broken;
  }

  /** There, alive and not draining. Whether it fails too often is the breaker's word. */
  get usable(): boolean {
    return this.able && !this.draining;
  }

  /** Nothing went through it yet, and a probe would. */
  get unproven(): boolean {
    return this.usable && !this.proven && !this.emptied;
  }

  /** Somebody ordered that its streams go elsewhere, and it gets no new ones: as the instance itself says, to all routers. */
  get emptied(): boolean {
    return this.load?.emptied === true;
  }

  get costs(): EngineCosts {
    return this.load?.costs ?? FREE_COSTS;
  }

  get storePrice(): LinkPrice | null {
    const store = this.load?.kv.store;
    return store === undefined || UNASKED.includes(store.reason) ? null : (store.price ?? null);
  }

  get storeAheadMs(): number {
    return this.load?.kv.store?.aheadMs ?? 0;
  }

  get maxSequences(): number {
    return this.info?.maxSequences ?? 1;
  }

  /** Null while the feed is down. */
  get load(): EngineLoad | null {
    return this.#load;
  }

  reported(load: EngineLoad): void {
    this.#load = load;
    this.#requestCount.reported(load.running + load.waiting);
    this.#prefill.reported(load.pendingPrefillTokens);
    this.#context.reported(load.contextTokens);
  }

  /** Its feed is down. */
  lost(reason: string): void {
    this.info = null;
    this.#load = null;
    this.lostBecause = reason;
    for (const burden of [this.#requestCount, this.#prefill, this.#context]) burden.lost();
  }

  /** Requests of this router. */
  get inFlight(): number {
    return this.#requestCount.ours;
  }

  get running(): number {
    return this.#requestCount.all;
  }

  get pendingPrefillTokens(): number {
    return this.#prefill.all;
  }

  get contextTokens(): number {
    return this.#context.all;
  }

  get reservedTokens(): number {
    return this.#prefill.ours + this.#context.ours;
  }

  reserve({ prefillTokens, contextTokens }: Reservation): void {
    this.#requestCount.add(1);
    this.#prefill.add(prefillTokens);
    this.#context.add(contextTokens);
  }

  /** The prompt is prefilled; the request goes on. */
  prefilled(tokens: number): void {
    this.#prefill.add(-tokens);
  }

  release({ prefillTokens, contextTokens }: Reservation): void {
    this.#requestCount.add(-1);
    this.#prefill.add(-prefillTokens);
    this.#context.add(-contextTokens);
  }
}
