/** Small HTTP calls to instances and routers: always an answer within the deadline, never an exception. */
import { connect } from 'node:net';
import { request } from '../shared/index.ts';

export type Answer =
  | { readonly ok: true; readonly status: number; readonly json: unknown }
  | { readonly ok: false; readonly why: string; readonly refused: boolean };

export interface Call {
  readonly method?: 'GET' | 'PUT' | 'POST';
  readonly url: string;
  readonly body?: unknown;
  readonly timeoutMs: number;
}

/** Control answers are small; a peer that sends more is broken. */
const MAX_ANSWER_BYTES = 4 * 2 ** 20;

/** `json` is null when the body is not JSON; a status other than 2xx is still an answer. */
export function call(options: Call): Promise<Answer> {
  return new Promise((resolve) => {
    const body = options.body === undefined ? null : JSON.stringify(options.body);
    const fail = (error: NodeJS.ErrnoException) => {
      resolve({ ok: false, why: error.code ?? error.message, refused: error.code === 'ECONNREFUSED' });
    };
    const outgoing = request(options.url, {
      method: options.method ?? 'GET',
      agent: false,
      signal: AbortSignal.timeout(options.timeoutMs),
      headers: body === null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
    });
    outgoing.on('error', fail);
    outgoing.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MAX_ANSWER_BYTES) response.destroy(new Error('answer too large'));
      });
      response.on('error', fail);
      response.on('end', () => resolve({ ok: true, status: response.statusCode ?? 0, json: parseJson(text) }));
    });
    outgoing.end(body ?? undefined);
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // not JSON: the caller judges by the status
  }
}

/** Whether something accepts connections there. */
export function accepts(url: string, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), timeout: timeoutMs });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('connect', () => end(true));
    socket.on('error', () => end(false));
    socket.on('timeout', () => end(false));
  });
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
