/**
 * The serving side of KV transfer: listens, and gives each connection to a session. Bounded in connections, keys, bytes in flight and
 * the time that a silent peer may hold a connection.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../shared/index.ts';
import { PeerBudgets } from './budget.ts';
import type { BlockSource, LeaseKeeper } from './port.ts';
import { ServingSession } from './session.ts';
import { Staging } from './staging.ts';

export interface TransferLimits {
  /** Connections at one time; more are closed at once. Default 256. */
  readonly maxConnections: number;
  /** Keys of one request. Default 16,384. */
  readonly maxKeys: number;
  /** Milliseconds for a whole request to arrive. Default 5,000. */
  readonly requestTimeoutMs: number;
  /** Milliseconds without the peer taking any bytes, or acknowledging, after which the connection is dropped. Default 10,000. */
  readonly idleTimeoutMs: number;
  /** Milliseconds that a connection is kept open between two requests of its peer. Default 60,000. */
  readonly keepMs: number;
  /** Bytes handed to the socket before it must have taken earlier ones; one block at least. Default 1 MiB. */
  readonly inFlightBytes: number;
  /** Milliseconds between two renewals of the lease while sending. Default 1,000. */
  readonly renewEveryMs: number;
}

const DEFAULT_LIMITS: TransferLimits = {
  maxConnections: 256,
  maxKeys: 16_384,
  requestTimeoutMs: 5_000,
  idleTimeoutMs: 10_000,
  keepMs: 60_000,
  inFlightBytes: 1_048_576,
  renewEveryMs: 1_000,
};

/** Free batch buffers kept, of `inFlightBytes` each. */
const STAGING_KEPT = 4;

export interface TransferServerOptions {
  readonly source: BlockSource;
  readonly leases: LeaseKeeper;
  readonly clock: Clock;
  /** Bytes per second that one peer may pull; null = no limit. */
  readonly bytesPerSecondPerPeer: number | null;
  readonly limits?: Partial<TransferLimits>;
}

/** Counts since the start, but for `connections`. */
export interface TransferServerStats {
  /** Open now. */
  readonly connections: number;
  readonly sentBlocks: number;
  /** KV bytes handed to sockets. */
  readonly sentBytes: number;
  /** Transfers that the peer acknowledged as complete. */
  readonly acknowledged: number;
  /** Transfers that this side ended with an error frame. */
  readonly refused: number;
  /** Connections dropped because the peer was silent for too long. */
  readonly timedOut: number;
}

export interface TransferAddress {
  readonly host: string;
  readonly port: number;
}

export class TransferServer {
  readonly #options: TransferServerOptions;
  readonly #limits: TransferLimits;
  readonly #budgets: PeerBudgets | null;
  readonly #server: Server;
  readonly #staging: Staging;
  readonly #sessions = new Set<ServingSession>();
  readonly #counts = { sentBlocks: 0, sentBytes: 0, acknowledged: 0, refused: 0, timedOut: 0 };

  constructor(options: TransferServerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#staging = new Staging({ bytes: this.#limits.inFlightBytes, kept: STAGING_KEPT });
    this.#budgets = options.bytesPerSecondPerPeer === null ? null : new PeerBudgets(options.bytesPerSecondPerPeer);
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
    this.#server.maxConnections = this.#limits.maxConnections;
  }

  /**
   * Starts listening; once.
   * @param address default: a free port of 127.0.0.1.
   * @throws the system's error when the address cannot be listened on.
   */
  listen(address: Partial<TransferAddress> = {}): Promise<TransferAddress> {
    const host = address.host ?? '127.0.0.1';
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(address.port ?? 0, host, () => {
        this.#server.off('error', reject);
        // Faults of accepting (too many open files) concern one connection, whose peer sees it closed; the server goes on.
        this.#server.on('error', () => {});
        const bound = this.#server.address();
        resolve({ host, port: bound !== null && typeof bound === 'object' ? bound.port : 0 });
      });
    });
  }

  stats(): TransferServerStats {
    return { connections: this.#sessions.size, ...this.#counts };
  }

  /** Stops listening and drops all connections; resolves when none is left. Idempotent. */
  async close(): Promise<void> {
    // The only error is "not running", which is what is wanted.
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await Promise.all([stopped, ...[...this.#sessions].map((session) => session.shutDown())]);
  }

  #serve(socket: Socket): void {
    const { source, leases, clock } = this.#options;
    const session = new ServingSession(socket, {
      source,
      leases,
      clock,
      limits: this.#limits,
      budgets: this.#budgets,
      staging: this.#staging,
      counts: this.#counts,
      closed: () => this.#sessions.delete(session),
    });
    this.#sessions.add(session);
  }
}
