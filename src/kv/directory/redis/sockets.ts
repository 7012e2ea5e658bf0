/**
 * Sockets to Redis that may fail twice. Node tells of an error of TLS also on a socket that has failed before, for example of an alert that
 * comes after the server's certificate was refused; the client library listens for one error only, and one that nobody hears ends the process.
 */
import { createConnection, type Socket } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import {
  AbstractConnector,
  Redis,
  type RedisOptions,
  type SentinelAddress,
  type SentinelConnectionOptions,
  SentinelConnector,
} from 'ioredis';

/** What the library gives of its options to whoever connects. */
interface SocketOptions {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly tls?: ConnectionOptions;
  readonly disconnectTimeout: number;
}

/** To one server, or to a node of a cluster. */
export class ServerConnector extends AbstractConnector {
  readonly #options: SocketOptions;

  constructor(options: unknown) {
    const given = options as SocketOptions;
    super(given.disconnectTimeout);
    this.#options = given;
  }

  /** Why the socket failed, which is the first of what it says. */
  protected heard(error: Error): void {
    this.firstError ??= error;
  }

  connect(): Promise<Socket> {
    this.connecting = true;
    return new Promise((resolve, reject) => {
      // Not at once: whoever asked may have gone by then.
      process.nextTick(() => {
        if (!this.connecting) return reject(new Error('Connection is closed.'));
        const { host, port = 6379, path, tls } = this.#options;
        const place = path === undefined || path === '' ? { port, ...(host === undefined ? {} : { host }) } : { path };
        try {
          const socket = tls ? connect({ ...place, ...tls }) : createConnection(place);
          socket.once('error', (error) => this.heard(error));
          socket.on('error', () => {});
          this.stream = socket;
          resolve(socket);
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}

/** To the primary that sentinels name. */
export class PrimaryConnector extends SentinelConnector {
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions);
    // How it connects to a sentinel is hidden by the library, and would be over its own sockets.
    const value = (address: Partial<SentinelAddress>, more: RedisOptions = {}) => this.#sentinelClient(address, more);
    Object.defineProperty(this, 'connectToSentinel', { value });
  }

  override async connect(tell: Parameters<SentinelConnector['connect']>[0]): ReturnType<SentinelConnector['connect']> {
    const socket = await super.connect(tell);
    socket.on('error', () => {});
    return socket;
  }

  /** @param more what the library wants otherwise */
  #sentinelClient({ host, port = 26_379 }: Partial<SentinelAddress>, more: RedisOptions): Redis {
    const { sentinelUsername, sentinelPassword, sentinelTLS, connectTimeout } = this.options;
    const tell = (error: Error) => this.emitter?.emit('error', error);
    // What fails here is known to the library alone, which says no more than that a connection is closed.
    const Connector = class extends ServerConnector {
      protected override heard(error: Error): void {
        super.heard(error);
        tell(error);
      }
    };
    return new Redis({
      host,
      port,
      username: sentinelUsername,
      password: sentinelPassword,
      tls: sentinelTLS,
      connectTimeout,
      retryStrategy: () => null,
      enableReadyCheck: false,
      Connector,
      ...more,
      replyMapping: 'legacy',
    });
  }
}
