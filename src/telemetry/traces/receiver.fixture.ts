/** An OTLP/HTTP receiver for tests, as strict with JSON as the protocol is; it reads by the protocol, not by what wrote it. */
import type { AddressInfo } from 'node:net';
import { createServer } from '../../shared/index.ts';

export interface Received {
  readonly resource: Readonly<Record<string, unknown>>;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client';
  /** Unix nanoseconds. */
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly { readonly name: string; readonly at: bigint; readonly attributes: Readonly<Record<string, unknown>> }[];
  /** Message of the status ERROR; null = unset. */
  readonly error: string | null;
}

export interface Reply {
  readonly status: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Json = Readonly<Record<string, unknown>>;

export class Receiver {
  readonly spans: Received[] = [];
  /** Spans of each export. */
  readonly exports: number[] = [];
  /** What did not follow the protocol. */
  readonly faults: string[] = [];
  /** Null = never. */
  reply: () => Reply | null = () => ({ status: 200, body: '{"partialSuccess":{}}' });
  readonly #server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (piece: string) => {
      body += piece;
    });
    request.on('end', () => {
      const reply = this.reply();
      const spans = this.#read(`${request.method} ${request.url} ${request.headers['content-type']}`, body);
      this.exports.push(spans.length);
      if (reply === null) return;
      if (reply.status === 200) this.spans.push(...spans);
      response.writeHead(reply.status, { 'content-type': 'application/json', ...reply.headers }).end(reply.body ?? '');
    });
  });

  /** @returns its endpoint. @param port 0 = any free one */
  listen(port = 0): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, '127.0.0.1', () => resolve(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`));
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #read(head: string, body: string): Received[] {
    try {
      if (head !== 'POST /v1/traces application/json') throw new Error(head);
      return listOf(JSON.parse(body), 'resourceSpans').flatMap(resourceSpans);
    } catch (thrown) {
      this.faults.push(String(thrown));
      return [];
    }
  }
}

function resourceSpans(given: Json): Received[] {
  const resource = attributesOf(given['resource'] as Json);
  return listOf(given, 'scopeSpans').flatMap((scope) => listOf(scope, 'spans').map((span) => spanOf(span, resource)));
}

const KINDS: Readonly<Record<string, Received['kind']>> = { 1: 'internal', 2: 'server', 3: 'client' };

function spanOf(span: Json, resource: Received['resource']): Received {
  const kind = KINDS[String(span['kind'])];
  if (kind === undefined || typeof span['kind'] !== 'number') throw new Error(`kind ${JSON.stringify(span['kind'])}`);
  const [start, end] = [nanos(span['startTimeUnixNano']), nanos(span['endTimeUnixNano'])];
  if (end < start) throw new Error(`ends ${start - end} ns before it starts`);
  const parent = span['parentSpanId'];
  return {
    resource,
    traceId: id(span['traceId'], 32),
    spanId: id(span['spanId'], 16),
    parentSpanId: parent === undefined ? null : id(parent, 16),
    name: textOf(span['name']),
    kind,
    start,
    end,
    attributes: attributesOf(span),
    events: listOf(span, 'events').map((event) => ({
      name: textOf(event['name']),
      at: nanos(event['timeUnixNano']),
      attributes: attributesOf(event),
    })),
    error: statusOf(span['status']),
  };
}

function statusOf(status: unknown): string | null {
  if (status === undefined) return null;
  const { code, message } = status as Json;
  if (code !== 2) throw new Error(`status ${JSON.stringify(code)}`);
  return textOf(message);
}

function attributesOf(of: Json): Json {
  const pairs = listOf(of, 'attributes').map(({ key, value }) => [textOf(key), decoded(value as Json)] as const);
  const attributes = Object.fromEntries(pairs);
  if (Object.keys(attributes).length !== pairs.length) throw new Error('an attribute twice');
  return attributes;
}

function decoded(value: Json): unknown {
  const [[kind, given] = ['', null], ...more] = Object.entries(value);
  if (more.length > 0) throw new Error(`values ${JSON.stringify(value)}`);
  if (kind === 'stringValue') return textOf(given);
  if (kind === 'boolValue' && typeof given === 'boolean') return given;
  if (kind === 'intValue' && typeof given === 'string' && /^-?\d+$/.test(given)) return BigInt(given);
  if (kind === 'doubleValue' && typeof given === 'number') return given;
  if (kind === 'arrayValue') return listOf(given as Json, 'values').map(decoded);
  throw new Error(`value ${JSON.stringify(value)}`);
}

function listOf(of: Json, name: string): readonly Json[] {
  const list = of[name] ?? [];
  if (!Array.isArray(list)) throw new Error(`${name} is no list`);
  return list;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new Error(`text ${JSON.stringify(value)}`);
  return value;
}

function id(value: unknown, digits: number): string {
  const text = textOf(value);
  if (!new RegExp(`^[0-9a-f]{${digits}}$`).test(text) || /^0+$/.test(text)) throw new Error(`id ${text}`);
  return text;
}

function nanos(value: unknown): bigint {
  const text = textOf(value);
  if (!/^\d{1,20}$/.test(text)) throw new Error(`time ${text}`);
  return BigInt(text);
}
