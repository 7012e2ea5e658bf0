/** The HTTP face of an agent: what docs/engine-protocol.md asks of an engine but for the requests, which the engine takes itself. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, SluiceError, toSluiceError } from '../../shared/index.ts';
import type { EventHub } from '../openai/events.ts';
import { close, listen } from '../openai/listen.ts';
import { sendError, sendJson, sendText } from '../openai/replies.ts';
import type { EngineInfo } from '../port.ts';

/** What the face shows; null and false while the engine starts, or is not well. */
export interface Shown {
  info(): EngineInfo | null;
  events(): EventHub | null;
  well(): boolean;
  /** The engine's own page. @throws SluiceError unavailable */
  metrics(): Promise<string>;
  /** Takes no new requests from now on. */
  drain(): void;
}

export interface Face {
  /** @throws the listen error of node:net, for example EADDRINUSE */
  listen(host: string, port: number): Promise<string>;
  close(): Promise<void>;
}

type Handler = (shown: Shown, response: ServerResponse, url: string | undefined) => Promise<void> | void;

const ROUTES: Readonly<Record<string, { readonly method: 'GET' | 'POST'; readonly handle: Handler }>> = {
  '/health': { method: 'GET', handle: health },
  '/sluice/info': { method: 'GET', handle: (shown, response) => sendJson(response, 200, present(shown.info())) },
  '/sluice/events': { method: 'GET', handle: events },
  '/sluice/drain': { method: 'POST', handle: drain },
  '/sluice/empty': { method: 'POST', handle: (shown, response) => empty(shown, response, true) },
  '/sluice/refill': { method: 'POST', handle: (shown, response) => empty(shown, response, false) },
  '/metrics': {
    method: 'GET',
    handle: async (shown, response) => sendText(response, 200, await shown.metrics(), { 'content-type': PAGE_TYPE }),
  },
};

/** As engines declare their pages of metrics. */
const PAGE_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const MAX_CONNECTIONS = 256;
const MAX_BODY_BYTES = 64 * 1024;
const HEADERS_MS = 10_000;

export function createFace(shown: Shown): Face {
  const server = createServer({ headersTimeout: HEADERS_MS, requestTimeout: HEADERS_MS, noDelay: true }, (request, response) => {
    discardBody(request);
    route(shown, request, response).catch((thrown: unknown) => {
      if (response.headersSent) response.destroy();
      else sendError(response, toSluiceError(thrown));
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  return {
    listen: async (host, port) => (await listen(server, host, port)).url,
    close: () => close(server),
  };
}

async function route(shown: Shown, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  const found = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (found === undefined) {
    throw new SluiceError('not_found', `no such path: ${path.slice(0, 200)}; requests go to the requestUrl of /sluice/info`);
  }
  if (request.method !== found.method) {
    response.setHeader('allow', found.method);
    throw new SluiceError('method_not_allowed', `${path} takes ${found.method}, not ${request.method}`);
  }
  await found.handle(shown, response, request.url);
}

function health(shown: Shown, response: ServerResponse): void {
  if (!shown.well()) throw new SluiceError('unavailable', 'the engine is not well, or still starts');
  sendText(response, 200, '', {});
}

function events(shown: Shown, response: ServerResponse, url: string | undefined): void {
  if (present(shown.events()).subscribe(response, url)) return;
  throw new SluiceError('unavailable', 'there are too many subscribers of events already');
}

function drain(shown: Shown, response: ServerResponse): void {
  shown.drain();
  sendJson(response, 202, { draining: true });
}

function empty(shown: Shown, response: ServerResponse, emptied: boolean): void {
  present(shown.events()).empty(emptied);
  sendJson(response, 200, { emptied });
}

function present<T>(value: T | null): T {
  if (value === null) throw new SluiceError('unavailable', 'the engine still starts');
  return value;
}

/** No path takes a body, but it must be gone before the connection can be used again. */
function discardBody(request: IncomingMessage): void {
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) request.destroy();
  });
  request.on('error', () => request.destroy());
}
