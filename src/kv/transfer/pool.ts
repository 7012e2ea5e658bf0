/**
 * Pulls of one instance, kept within bounds per peer: at most so many at one time, at most so many bytes per second. Further pulls wait
 * their turn within their own deadline; too many waiting end at once, with the reason.
 */
import type { Clock } from '../../shared/index.ts';
import { PeerBudgets } from './budget.ts';
import { pull } from './client.ts';
import { ConnectionStore } from './connection.ts';
import type { PullRequest, PullResult } from './port.ts';

export interface TransferPoolOptions {
  readonly clock: Clock;
  /** Bytes per second that may be pulled from one peer; null = no limit. */
  readonly bytesPerSecondPerPeer: number | null;
  /** Pulls from one peer at one time; more wait, within their deadline. Default 4. */
  readonly pullsPerPeer?: number;
  /** Pulls waiting over all peers; more end at once with a reason. Default 1024. */
  readonly maxWaiting?: number;
}

/** How long a peer may take to hear that nothing more is wanted. */
const RELEASE_MS = 5_000;
/** Less than a server keeps a connection, so that it is seldom the one that closes. */
const IDLE_MS = 30_000;

interface Lane {
  running: number;
  readonly waiting: Set<() => void>;
}

export class TransferPool {
  readonly #clock: Clock;
  readonly #budgets: PeerBudgets | null;
  readonly #pullsPerPeer: number;
  readonly #maxWaiting: number;
  readonly #connections: ConnectionStore;
  readonly #lanes = new Map<string, Lane>();
  #waiting = 0;

  /** @throws RangeError when a limit is not a positive number. */
  constructor(options: TransferPoolOptions) {
    const { clock, bytesPerSecondPerPeer, pullsPerPeer = 4, maxWaiting = 1024 } = options;
    if (!(pullsPerPeer >= 1)) throw new RangeError(`pullsPerPeer: expected 1 or more, got ${pullsPerPeer}`);
    if (!(maxWaiting >= 0)) throw new RangeError(`maxWaiting: expected 0 or more, got ${maxWaiting}`);
    this.#clock = clock;
    this.#budgets = bytesPerSecondPerPeer === null ? null : new PeerBudgets(bytesPerSecondPerPeer);
    this.#pullsPerPeer = pullsPerPeer;
    this.#maxWaiting = maxWaiting;
    this.#connections = new ConnectionStore({ clock, perPeer: pullsPerPeer, idleMs: IDLE_MS });
  }

  /** Drops idle connections. */
  close(): void {
    this.#connections.close();
  }

  /** Pulls running and waiting. */
  get size(): number {
    let running = 0;
    for (const lane of this.#lanes.values()) running += lane.running;
    return running + this.#waiting;
  }

  /** As `pull`; waiting for a turn counts against the deadline and into `ms`. */
  async pull(request: Omit<PullRequest, 'clock' | 'budget'>): Promise<PullResult> {
    const clock = this.#clock;
    const startedAt = clock.now();
    const peer = `${request.host}:${request.port}`;
    const lane = this.#lanes.get(peer) ?? { running: 0, waiting: new Set() };
    this.#lanes.set(peer, lane);
    const refusal = await this.#turn(lane, request);
    if (refusal !== null) {
      this.#dropIdle(peer, lane);
      return { blocks: 0, bytes: 0, ms: clock.now() - startedAt, failed: refusal };
    }
    try {
      const waitedMs = clock.now() - startedAt;
      const budget = this.#budgets?.of(peer, clock.now());
      const left = { ...request, clock, connections: this.#connections, deadlineMs: Math.max(0, request.deadlineMs - waitedMs) };
      const result = await pull(budget ? { ...left, budget } : left);
      return { ...result, ms: clock.now() - startedAt };
    } finally {
      lane.running -= 1;
      const [next] = lane.waiting;
      next?.();
      this.#dropIdle(peer, lane);
    }
  }

  /** Tells the peer that nothing more of the lease is wanted, which ends it. Nobody waits for that: unheard, the lease ends by its time. */
  release(request: Pick<PullRequest, 'host' | 'port' | 'lease' | 'peer' | 'blockTokens' | 'bytesPerBlock'>): void {
    const nothing = { keys: [], tokens: new Int32Array(0), deadlineMs: RELEASE_MS, onBlock: () => undefined };
    this.pull({ ...request, ...nothing }).catch(() => undefined); // only a name out of range gets here
  }

  /** Resolves with null when it is this pull's turn (it then counts as running), else with why it never will be. */
  #turn(lane: Lane, request: Pick<PullRequest, 'deadlineMs' | 'signal' | 'keys'>): Promise<string | null> {
    if (lane.running < this.#pullsPerPeer) {
      lane.running += 1;
      return Promise.resolve(null);
    }
    if (this.#waiting >= this.#maxWaiting) return Promise.resolve(`${this.#waiting} other pulls wait already`);
    const { signal, deadlineMs, keys } = request;
    if (signal?.aborted) return Promise.resolve(`cancelled after 0 of ${keys.length} blocks`);
    return new Promise((resolve) => {
      const leave = (refusal: string | null) => {
        if (!lane.waiting.delete(start)) return;
        this.#waiting -= 1;
        cancel();
        signal?.removeEventListener('abort', abort);
        resolve(refusal);
      };
      const start = () => {
        lane.running += 1;
        leave(null);
      };
      const abort = () => leave(`cancelled after 0 of ${keys.length} blocks`);
      const cancel = this.#clock.after(deadlineMs, () =>
        leave(`deadline of ${Math.round(deadlineMs)} ms passed while other pulls from this peer ran`),
      );
      signal?.addEventListener('abort', abort, { once: true });
      lane.waiting.add(start);
      this.#waiting += 1;
    });
  }

  #dropIdle(peer: string, lane: Lane): void {
    if (lane.running === 0 && lane.waiting.size === 0 && this.#lanes.get(peer) === lane) this.#lanes.delete(peer);
  }
}
