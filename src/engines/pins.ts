/**
 * Contexts whose KV stays, in host memory or in the store: computed once like any prompt, then kept until somebody lets them go or nobody
 * renews them.
 *
 * Invariants
 * - Every pin ends: after its time without renewal, when it is let go, and when the engine drains. What one that was killed had marked in a
 *   store stays marked there: it goes last, but it goes.
 * - All pins together keep at most `PINNABLE_SHARE` of host memory, and there are at most `MOST_PINS`: hand-offs need the rest. One alone takes at
 *   most that share of a store.
 * - A pin is held whole, or it has failed and says why; blocks that two pins share count once.
 */
import { blockKeys, type HostTier, type KvBlock, keyHexes, type StoreTier } from '../kv/index.ts';
import { type Cancel, type Clock, SluiceError } from '../shared/index.ts';
import type { EngineCore, EngineRequest, HandOffTicket, Running } from './port.ts';
import type { ChainSeeds } from './seeds.ts';

export type PinTier = 'host' | 'store';

export interface PinAsk {
  /** Of whoever asks; asked again under the same id, the earlier one ends. */
  readonly id: string;
  /** What tells one content from another, so that a renewal need not carry it. */
  readonly digest: string;
  readonly prompt: Int32Array;
  /** Tenant salt; '' = shared. */
  readonly salt: string;
  readonly tier: PinTier;
  /** Milliseconds after which it ends unless it is renewed. */
  readonly ttlMs: number;
}

/** `TooShort`: less than one block. `ContextExceeded`, `DoesNotFit`: it never will as things are. `NoStore`: there is none. `Refused`: not now. */
export type PinTrouble = 'TooShort' | 'NoStore' | 'ContextExceeded' | 'DoesNotFit' | 'Refused';

export interface Pin {
  readonly id: string;
  readonly digest: string;
  readonly tier: PinTier;
  readonly state: 'Computing' | 'Held' | 'Failed';
  readonly tokens: number;
  /** Whole blocks, and their bytes; of one that is not held: those that it needs. */
  readonly blocks: number;
  readonly bytes: number;
  /** Milliseconds until it ends. */
  readonly leftMs: number;
  /** Null unless it failed. */
  readonly trouble: { readonly reason: PinTrouble; readonly message: string } | null;
}

export interface PinsView {
  /** Of host memory. */
  readonly capacityBytes: number;
  /** Of it, what pins may take at most, and what they take. */
  readonly pinnableBytes: number;
  readonly pinnedBytes: number;
  /** Of the store, of which others may have a part; null = there is none. */
  readonly store: { readonly capacityBytes: number; readonly pinnedBytes: number } | null;
  readonly pins: readonly Pin[];
}

export interface ContextPinsOptions {
  readonly host: HostTier;
  readonly store: StoreTier | null;
  readonly clock: Clock;
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
  readonly seeds: ChainSeeds;
  readonly engine: Pick<EngineCore, 'prefill' | 'releaseLease'>;
}

const PINNABLE_SHARE = 0.5;
const MOST_PINS = 256;
/** For reading from the store what is there of it. */
const READ_MS = 10_000;
const NO_SAMPLING = { temperature: 0, topP: 1, seed: 0, maxTokens: 1, ignoreEos: true, logprobs: null } as const;

interface Entry {
  readonly ask: Omit<PinAsk, 'ttlMs' | 'prompt'>;
  readonly tokens: number;
  readonly keys: readonly string[];
  state: Pin['state'];
  trouble: Pin['trouble'];
  running: Running | null;
  /** Lets go of its blocks, wherever they are. */
  release: () => void;
  endsAt: number;
  cancelEnd: Cancel;
}

export class ContextPins {
  readonly #options: ContextPinsOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: ContextPinsOptions) {
    this.#options = options;
  }

  /** Begins, or goes on with what is there of the same content. @throws SluiceError queue_full when there are too many */
  pin({ prompt, ttlMs, ...ask }: PinAsk): void {
    if (this.renew(ask.id, ask.digest, ttlMs)) return;
    this.unpin(ask.id);
    if (this.#entries.size >= MOST_PINS)
      throw new SluiceError('queue_full', `${MOST_PINS} contexts are pinned on this instance already`, { retryAfterSeconds: 60 });
    const { blockTokens, seeds } = this.#options;
    const whole = prompt.subarray(0, prompt.length - (prompt.length % blockTokens));
    const entry: Entry = {
      ask,
      tokens: prompt.length,
      keys: keyHexes(blockKeys(seeds.of(ask.salt), whole, blockTokens)),
      state: 'Computing',
      trouble: null,
      running: null,
      release: () => undefined,
      endsAt: 0,
      cancelEnd: () => undefined,
    };
    this.#entries.set(ask.id, entry);
    this.#extend(entry, ttlMs);
    entry.trouble = this.#obstacle(entry);
    if (entry.trouble === null) this.#compute(entry, whole);
    else entry.state = 'Failed';
  }

  /** False when there is none of that content, or it failed: then it is to be asked for again. */
  renew(id: string, digest: string, ttlMs: number): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.ask.digest !== digest || entry.state === 'Failed') return false;
    this.#extend(entry, ttlMs);
    if (entry.state === 'Held' && entry.ask.tier === 'store') void this.#mark(entry);
    return true;
  }

  /** Lets it go. False when there is none. */
  unpin(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#entries.delete(id);
    entry.cancelEnd();
    entry.running?.cancel();
    entry.release();
    return true;
  }

  view(): PinsView {
    const { host, store, clock, bytesPerBlock } = this.#options;
    const { capacityBytes, pinnedBytes } = host.load();
    const usage = store?.stats().usage ?? null;
    const pins = [...this.#entries.values()].map(
      ({ ask, state, tokens, keys, endsAt, trouble }): Pin => ({
        id: ask.id,
        digest: ask.digest,
        tier: ask.tier,
        state,
        tokens,
        blocks: keys.length,
        bytes: keys.length * bytesPerBlock,
        leftMs: Math.max(0, Math.round(endsAt - clock.now())),
        trouble,
      }),
    );
    const stored = usage && { capacityBytes: usage.capacityBytes, pinnedBytes: usage.pinnedBytes };
    return { capacityBytes, pinnableBytes: this.#pinnableBytes, pinnedBytes, store: stored, pins };
  }

  /** Lets all of them go. */
  clear(): void {
    for (const id of this.#entries.keys()) this.unpin(id);
  }

  get #pinnableBytes(): number {
    return Math.floor(this.#options.host.capacityBytes * PINNABLE_SHARE);
  }

  #extend(entry: Entry, ttlMs: number): void {
    const { clock } = this.#options;
    entry.cancelEnd();
    entry.endsAt = clock.now() + ttlMs;
    entry.cancelEnd = clock.after(ttlMs, () => void this.unpin(entry.ask.id));
  }

  /** Why it need not be computed: it could not stay. */
  #obstacle({ keys, tokens, ask }: Entry): Pin['trouble'] {
    const { host, blockTokens, bytesPerBlock } = this.#options;
    if (keys.length === 0) return { reason: 'TooShort', message: `it has ${tokens} tokens, and a block of KV has ${blockTokens}` };
    if (ask.tier === 'store') return this.#obstacleInStore(keys.length * bytesPerBlock);
    const needed = host.notKept(keys) * bytesPerBlock;
    const { pinnedBytes } = host.load();
    if (pinnedBytes + needed <= this.#pinnableBytes) return null;
    const message = `its KV needs ${needed} bytes more of host memory; of ${host.capacityBytes} bytes ${this.#pinnableBytes} may be pinned, and ${pinnedBytes} are`;
    return { reason: 'DoesNotFit', message };
  }

  #obstacleInStore(neededBytes: number): Pin['trouble'] {
    const { store } = this.#options;
    if (store === null) return { reason: 'NoStore', message: 'it has no store' };
    const { usage, condition } = store.stats();
    const { capacityBytes } = usage;
    if (capacityBytes === 0) return { reason: 'Refused', message: `its store has not said how large it is yet: ${condition.message}` };
    if (neededBytes <= capacityBytes * PINNABLE_SHARE) return null;
    const most = Math.floor(capacityBytes * PINNABLE_SHARE);
    return {
      reason: 'DoesNotFit',
      message: `its KV needs ${neededBytes} bytes of a store of ${capacityBytes}, of which one may take ${most}`,
    };
  }

  #compute(entry: Entry, prompt: Int32Array): void {
    const { salt, id } = entry.ask;
    const request: EngineRequest = {
      id: `pin ${id}`,
      prompt,
      resumed: new Int32Array(0),
      sampling: NO_SAMPLING,
      salt,
      ticket: null,
      pullDeadlineMs: READ_MS,
    };
    const { engine } = this.#options;
    const isOver = () => this.#entries.get(id) !== entry;
    entry.running = engine.prefill(request, {
      done: (ticket) => {
        if (!isOver()) this.#computed(entry, ticket);
        engine.releaseLease(ticket.lease);
      },
      error: (error) => {
        if (isOver()) return;
        const reason = error.code === 'context_length_exceeded' ? 'ContextExceeded' : 'Refused';
        this.#fail(entry, { reason, message: error.message });
      },
    });
  }

  #computed(entry: Entry, ticket: HandOffTicket): void {
    const { host } = this.#options;
    // Another may have been pinned meanwhile.
    const obstacle = this.#obstacle(entry);
    if (obstacle !== null) return this.#fail(entry, obstacle);
    const kept = host.keep(entry.keys);
    entry.running = null;
    if (kept !== null) {
      entry.release = () => kept.release();
      if (entry.ask.tier === 'store') void this.#copyToStore(entry);
      else entry.state = 'Held';
      return;
    }
    const message = `${ticket.blocks} of its ${entry.keys.length} blocks found room in host memory: hand-offs and other pins have the rest`;
    this.#fail(entry, { reason: 'Refused', message });
  }

  /** From host memory, which keeps it so long. */
  async #copyToStore(entry: Entry): Promise<void> {
    const { host, store } = this.#options;
    const { keys, ask, release } = entry;
    const blocks = keys.map((key) => host.peek(key) as KvBlock);
    await store?.store.write(blocks, { tenant: ask.salt, pinned: true });
    release();
    // What others had stored before is marked as well.
    entry.release = () => void store?.store.pin(keys, false);
    await this.#mark(entry);
    if (entry.trouble === null) entry.state = 'Held';
  }

  /** Again and again: another context that shares blocks may have let go of them, and a store may lose what it has. */
  async #mark(entry: Entry): Promise<void> {
    const { store } = this.#options;
    if (store === null) return;
    await store.store.pin(entry.keys, true);
    // It was let go while the store was asked.
    if (this.#entries.get(entry.ask.id) !== entry) return void store.store.pin(entry.keys, false);
    const stored = await store.store.match(entry.keys);
    if (stored >= entry.keys.length) return;
    const message = `${stored} of its ${entry.keys.length} blocks are in the store, which says: ${store.store.condition().message}`;
    this.#fail(entry, { reason: 'Refused', message });
  }

  #fail(entry: Entry, trouble: NonNullable<Pin['trouble']>): void {
    entry.state = 'Failed';
    entry.running = null;
    entry.trouble = trouble;
  }
}
