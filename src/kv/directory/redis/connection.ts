/** The client library behind three words: what a link needs of a server, a primary behind sentinels, or a cluster. */
import { Cluster, Redis } from 'ioredis';
import { type BackoffPolicy, backoffMs } from '../../../shared/index.ts';
import type { Script, ScriptArgument } from './scripts.ts';
import type { Settings } from './settings.ts';
import { PrimaryConnector, ServerConnector } from './sockets.ts';

export interface Connection {
  /** Connected and shaken hands. Comes again after every loss. */
  onReady(run: () => void): void;
  onLost(run: () => void): void;
  onError(run: (error: Error) => void): void;
  /** `INFO` of every server that may be written to, with that of its cluster. */
  infos(): Promise<readonly string[]>;
  run(script: Script, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown>;
  close(): void;
}

export interface ConnectionOptions {
  readonly connectMs: number;
  /** A connection on which an answer is missing for so long is given up. */
  readonly stallMs: number;
  readonly backoff: BackoffPolicy;
  readonly random: () => number;
}

type Client = Redis | Cluster;

/** Connects at once, and again after every loss, for as long as it is not closed. */
export function openConnection(settings: Settings, options: ConnectionOptions): Connection {
  const client = settings.kind === 'cluster' ? clusterClient(settings, options) : serverClient(settings, options);
  let closed = false;
  // The library gives up for good when sentinels tell of a new primary while it is being asked for.
  client.on('end', () => {
    if (closed) return;
    setTimeout(
      () => {
        if (!closed) client.connect().catch(() => undefined);
      },
      backoffMs(options.backoff, 0, options.random()),
    );
  });
  return {
    onReady: (run) => void client.on('ready', run),
    onLost: (run) => void client.on('close', run),
    onError: (run) => {
      client.on('error', run);
      // What a node of a cluster says; the cluster's own error only counts them.
      if (client instanceof Cluster) client.on('node error', run);
    },
    infos: async () => {
      if (!(client instanceof Cluster)) return [await infoOf(client)];
      const primaries = client.nodes('master');
      if (primaries.length === 0) throw new Error('CLUSTERDOWN no node has any slot');
      return Promise.all(primaries.map(async (server) => `${await infoOf(server)}\n${String(await server.cluster('INFO'))}`));
    },
    run: (script, keys, args) => runScript(client, script, [keys.length, ...keys, ...args]),
    close: () => {
      closed = true;
      client.disconnect();
    },
  };
}

async function infoOf(server: Redis): Promise<string> {
  return `${await server.info('server')}\n${await server.info('replication')}`;
}

async function runScript(client: Client, script: Script, [count = 0, ...rest]: readonly ScriptArgument[]): Promise<unknown> {
  const send = (command: 'evalsha' | 'eval', text: string) => {
    if (script.binary) return client.callBuffer(command, text, count, ...rest);
    return client[command](text, Number(count), ...rest);
  };
  try {
    return await send('evalsha', script.sha);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    // Known to the server from then on, until it restarts.
    return send('eval', script.text);
  }
}

function serverClient(settings: Settings, options: ConnectionOptions): Redis {
  const { sentinel, addresses, path, tls } = settings;
  const retryStrategy = (attempt: number) => backoffMs(options.backoff, attempt - 1, options.random());
  // Callers wait in the link, which bounds them.
  const common = { ...shared(settings, options), retryStrategy, enableOfflineQueue: false, db: settings.db };
  if (sentinel) {
    const made: PrimaryConnector[] = [];
    const client = new Redis({
      ...common,
      Connector: class extends PrimaryConnector {
        constructor(given: unknown) {
          super(given);
          made.push(this);
        }
      },
      sentinels: addresses.map((address) => ({ ...address })),
      name: sentinel.name,
      sentinelRetryStrategy: retryStrategy,
      failoverDetector: true,
      ...(sentinel.username === null ? {} : { sentinelUsername: sentinel.username }),
      ...(sentinel.password === null ? {} : { sentinelPassword: sentinel.password }),
      ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls } : {}),
    });
    // As the library does it for its own; what watches for another primary tells it there.
    for (const connector of made) connector.emitter = client;
    return client;
  }
  return new Redis({ ...common, Connector: ServerConnector, ...(path === null ? addresses[0] : { path }) });
}

function clusterClient(settings: Settings, options: ConnectionOptions): Cluster {
  // What fails while nodes are asked for the slots is known to the library alone, which says no more than that a connection is closed.
  const Connector = class extends ServerConnector {
    protected override heard(error: Error): void {
      super.heard(error);
      client.emit('node error', error);
    }
  };
  const client = new Cluster([...settings.addresses], {
    clusterRetryStrategy: (attempt) => backoffMs(options.backoff, attempt - 1, options.random()),
    // Nodes of a cluster connect when they are first needed, and hold what is sent until then: the link bounds that too.
    enableOfflineQueue: false,
    slotsRefreshTimeout: options.connectMs,
    // The link looks at the state of the cluster itself and says what is wrong with it; a slot that nobody serves is its caller's to hear of.
    enableReadyCheck: false,
    retryDelayOnClusterDown: 0,
    // Where the keys of a node went is learnt from its errors; from silence only by asking.
    slotsRefreshInterval: 5_000,
    redisOptions: { ...shared(settings, options), Connector },
    ...(settings.tls ? { dnsLookup: (address, callback) => callback(null, address) } : {}),
  });
  return client;
}

function shared({ username, password, tls }: Settings, { connectMs, stallMs }: ConnectionOptions) {
  return {
    // What was sent when a connection broke is not sent again behind later calls.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    connectTimeout: connectMs,
    socketTimeout: stallMs,
    keepAlive: 10_000,
    protocol: 2 as const,
    disableClientInfo: true,
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password }),
    ...(tls ? { tls } : {}),
  };
}
