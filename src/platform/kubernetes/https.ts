/**
 * HTTPS to one API server, with the credentials of a kubeconfig or of the pod we run in. The client library is used for these credentials
 * only, and loaded when the first connection is made: it costs half a second.
 */
import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { KubernetesError } from './failure.ts';
import { ResettingAgent } from './resettingagent.ts';
import { LostConnection, type Transport, type WireRequest, type WireResponse } from './transport.ts';

export type Access =
  /** A kubeconfig; `context` stands for its current one. */
  | { readonly kind: 'kubeconfig'; readonly path: string; readonly context?: string }
  /** The ServiceAccount of the pod that this process runs in. */
  | {
      readonly kind: 'in-cluster';
      /** Folder under which `/var/run/secrets/…` is mounted; the root of the file system when absent. */
      readonly root?: string;
    };

export interface Connection {
  readonly transport: Transport;
  /** Namespace of the context, or of the pod. */
  readonly namespace: string;
}

/** TLS material and proxies as the library hands them over for every request, so that rotated files are seen. */
type Credentials = Pick<
  RequestOptions,
  'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'rejectUnauthorized' | 'servername' | 'auth' | 'agent'
> & { readonly authorization: string | undefined };

interface Endpoint {
  readonly server: URL;
  readonly viaProxy: boolean;
  credentials(): Promise<Credentials>;
}

/** Throws KubernetesError `configuration` when the access names no API server. */
export async function connect(access: Access, userAgent: string): Promise<Connection> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  const source = access.kind === 'kubeconfig' ? access.path : "the pod's ServiceAccount";
  try {
    if (access.kind === 'in-cluster') config.loadFromCluster(access.root);
    else config.loadFromFile(access.path);
  } catch (error) {
    throw configuration(source, error instanceof Error ? error.message : String(error), error);
  }
  if (access.kind === 'kubeconfig' && access.context !== undefined) config.setCurrentContext(access.context);
  const cluster = config.getCurrentCluster();
  if (cluster === null || !URL.canParse(cluster.server))
    throw configuration(source, `its context "${config.getCurrentContext()}" names no cluster with a valid server`);
  const credentials = async () => {
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    return { ...options, authorization: new Headers(Object(options.headers)).get('authorization') ?? undefined };
  };
  const endpoint = { server: new URL(cluster.server), viaProxy: cluster.proxyUrl !== undefined, credentials };
  const namespace = config.getContextObject(config.getCurrentContext())?.namespace ?? 'default';
  return { transport: new HttpsTransport(endpoint, userAgent), namespace };
}

function configuration(source: string, why: string, cause?: unknown): KubernetesError {
  const text = `cannot use ${source}: ${why}. Name a kubeconfig whose context has a cluster and a user, or run in a pod with a ServiceAccount.`;
  return new KubernetesError('configuration', text, cause);
}

class HttpsTransport implements Transport {
  readonly #endpoint: Endpoint;
  readonly #userAgent: string;
  #agent: { readonly material: string; readonly agent: ResettingAgent } | null = null;

  constructor(endpoint: Endpoint, userAgent: string) {
    this.#endpoint = endpoint;
    this.#userAgent = userAgent;
  }

  async send(wire: WireRequest): Promise<WireResponse> {
    const credentials = await this.#credentials();
    const { server, viaProxy } = this.#endpoint;
    // The library's own agent opens a connection for every request, but it knows the way through proxies.
    const agent = viaProxy ? credentials.agent : this.#agentFor(credentials);
    const headers = {
      ...(credentials.authorization === undefined ? {} : { authorization: credentials.authorization }),
      accept: 'application/json',
      'user-agent': this.#userAgent,
      ...(wire.contentType === undefined ? {} : { 'content-type': wire.contentType }),
      ...(wire.body === undefined ? {} : { 'content-length': Buffer.byteLength(wire.body) }),
    };
    const prefix = server.pathname.replace(/\/$/, '');
    const target = {
      protocol: server.protocol,
      hostname: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port,
      path: prefix + wire.path,
    };
    const { authorization: _, ...tls } = credentials;
    return exchange({ ...tls, ...target, agent, method: wire.method, headers, signal: wire.signal }, wire.body);
  }

  close(): void {
    this.#agent?.agent.destroy();
    this.#agent = null;
  }

  async #credentials(): Promise<Credentials> {
    try {
      return await this.#endpoint.credentials();
    } catch (error) {
      const why = error instanceof Error ? error.message.trim() : String(error);
      const text = `the credentials of the kubeconfig cannot be had: ${why}. Check its files and the command that it names.`;
      throw new KubernetesError('unauthorized', text, error);
    }
  }

  /** Connections are kept between requests as long as they carry the same certificates. */
  #agentFor({ ca, cert, key, pfx, passphrase, rejectUnauthorized, servername }: Credentials): ResettingAgent {
    const tls = { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername };
    const material = JSON.stringify(tls);
    if (this.#agent?.material === material) return this.#agent.agent;
    this.close();
    const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
    const agent = new ResettingAgent({ keepAlive: true, maxFreeSockets: 8, ...given });
    this.#agent = { material, agent };
    return agent;
  }
}

function exchange(options: RequestOptions & { readonly signal: AbortSignal }, body: string | undefined): Promise<WireResponse> {
  return new Promise((resolve, reject) => {
    const { agent, signal } = options;
    // Before the library's own listener, which would close the connection: see the agent.
    const reset = () => agent instanceof ResettingAgent && agent.reset(sent.socket);
    signal.addEventListener('abort', reset, { once: true });
    const sent = request(options, (response) => {
      response.once('close', () => signal.removeEventListener('abort', reset));
      resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] ?? null, body: chunks(response) });
    });
    sent.on('error', (error: NodeJS.ErrnoException) => {
      signal.removeEventListener('abort', reset);
      reject(lost(error));
    });
    sent.end(body);
  });
}

async function* chunks(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response) yield chunk;
  } catch (error) {
    throw error instanceof Error ? lost(error) : error;
  }
}

/** Codes of connections that never came to be. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

function lost(error: NodeJS.ErrnoException): LostConnection {
  // Node's word for a connection that the other side broke off.
  const why = error.message === 'aborted' ? 'the connection broke off' : error.message || (error.code ?? 'no reason given');
  return new LostConnection(why, !NEVER_SENT.has(error.code ?? ''), error);
}
