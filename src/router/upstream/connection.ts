/**
 * One keep-alive connection to an engine: one request at a time, no pipelining.
 *
 * Invariants
 * - A sink gets `head` once, then `data` and `flush`, then exactly one of `end` and `fail`; nothing after it was detached.
 * - Pieces given to `data` are views of one read buffer shared by all connections: copy what must outlive the call.
 * - A connection with bytes that belong to no answer, or with a broken frame, is destroyed and never used again.
 */
import { connect, type Socket } from 'node:net';
import type { Clock } from '../../shared/index.ts';
import { ChunkDecoder } from './chunks.ts';
import { parseHead, type ResponseHead } from './head.ts';

export interface UpstreamFailure {
  /** `connect`: no connection; `lost`: it broke; `protocol`: the answer was malformed; `overload`: too many connections. */
  readonly kind: 'connect' | 'lost' | 'protocol' | 'overload';
  readonly message: string;
}

export interface ResponseSink {
  head(head: ResponseHead): void;
  data(piece: Buffer): void;
  /** All pieces of one read were given. */
  flush(): void;
  end(): void;
  fail(failure: UpstreamFailure): void;
}

/** One request on its way. The connection it is on changes when an idle one turns out to be dead. */
export class Leg {
  readonly head: string;
  readonly body: Buffer | null;
  readonly sink: ResponseSink;
  /** Monotonic milliseconds. */
  readonly sentAt: number;
  connection: Connection | null = null;

  constructor(head: string, body: Buffer | null, sink: ResponseSink, sentAt: number) {
    this.head = head;
    this.body = body;
    this.sink = sink;
    this.sentAt = sentAt;
  }

  /** Gives the request up: its connection is closed, which cancels it in the engine. The sink hears nothing more. Idempotent. */
  abort(): void {
    this.connection?.destroy();
    this.connection = null;
  }

  pause(): void {
    this.connection?.pause();
  }

  resume(): void {
    this.connection?.resume();
  }
}

/** What a connection tells its pool. */
export interface ConnectionOwner {
  /** The answer is complete and the connection may serve the next request. */
  idle(connection: Connection): void;
  /** The request failed; `answered` says whether any byte of an answer had come. */
  failed(connection: Connection, leg: Leg, failure: UpstreamFailure, answered: boolean): void;
  /** Once, when the connection will serve nothing more. */
  closed(connection: Connection): void;
}

const MAX_HEAD_BYTES = 65_536;
const HEAD_END = Buffer.from('\r\n\r\n');
const READ_BUFFER = Buffer.allocUnsafeSlow(65_536);

const NOTHING = 0;
const HEAD = 1;
const LENGTH = 2;
const CHUNKS = 3;

export class Connection {
  readonly #socket: Socket;
  readonly #owner: ConnectionOwner;
  readonly #chunks = new ChunkDecoder();
  readonly #onPayload = (piece: Buffer): void => this.#leg?.sink.data(piece);
  #leg: Leg | null = null;
  #expect = NOTHING;
  #left = 0;
  #keepAlive = true;
  #answered = false;
  #connected = false;
  #partialHead: Buffer | null = null;
  #closed = false;
  /** Answers completed on this connection. */
  served = 0;

  constructor(address: { readonly host: string; readonly port: number }, connectTimeoutMs: number, clock: Clock, owner: ConnectionOwner) {
    this.#owner = owner;
    this.#socket = connect({
      host: address.host,
      port: address.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 15_000,
      onread: { buffer: READ_BUFFER, callback: (bytes, buffer) => this.#read(bytes, buffer) },
    });
    // A process that was kept from running meets its timers first and the answer that was there in time after them.
    const late = () => {
      if (!this.#connected) this.#lost('no connection in time');
    };
    const cancelTimer = clock.after(connectTimeoutMs, () => setImmediate(late));
    this.#socket.on('connect', () => {
      this.#connected = true;
      cancelTimer();
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#lost(error.code ?? error.message));
    this.#socket.on('end', () => this.#lost('closed by the engine'));
    this.#socket.on('close', () => {
      cancelTimer();
      this.#lost('closed');
    });
  }

  get reusable(): boolean {
    return !this.#closed && this.#socket.writable && this.#expect === NOTHING;
  }

  send(leg: Leg): void {
    this.#leg = leg;
    this.#expect = HEAD;
    this.#answered = false;
    if (leg.body === null) this.#socket.write(leg.head, 'latin1');
    else this.#socket.write(joined(leg.head, leg.body));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#closed) this.#socket.resume();
  }

  /** Ends the connection without telling the sink. Idempotent. */
  destroy(): void {
    if (this.#closed) return;
    this.#leg = null;
    this.#closed = true;
    this.#socket.destroy();
    this.#owner.closed(this);
  }

  #read(bytes: number, buffer: Uint8Array): boolean {
    try {
      this.#consume((buffer as Buffer).subarray(0, bytes));
    } catch (error) {
      this.#break({ kind: 'protocol', message: error instanceof Error ? error.message : 'malformed answer' });
    }
    return true;
  }

  #consume(buffer: Buffer): void {
    let at = 0;
    if (this.#expect === HEAD) {
      at = this.#head(buffer);
      if (at < 0) return;
    }
    if (this.#closed) return;
    if (this.#expect === LENGTH) {
      const take = Math.min(this.#left, buffer.length - at);
      if (take > 0) this.#leg?.sink.data(buffer.subarray(at, at + take));
      at += take;
      this.#left -= take;
      this.#leg?.sink.flush();
      if (this.#left === 0) this.#complete(at === buffer.length);
    } else if (this.#expect === CHUNKS) {
      at = this.#chunks.read(buffer, at, this.#onPayload);
      this.#leg?.sink.flush();
      if (this.#chunks.done) this.#complete(at === buffer.length);
    } else if (at < buffer.length) {
      throw new Error('bytes that belong to no answer');
    }
  }

  /** Reads the head; returns where the body begins, or -1 when the head is not complete or no body is expected. */
  #head(buffer: Buffer): number {
    this.#answered = true;
    const earlier = this.#partialHead;
    const all = earlier === null ? buffer : Buffer.concat([earlier, buffer]);
    const headEnd = all.indexOf(HEAD_END, Math.max(0, (earlier?.length ?? 0) - 3));
    if (headEnd > MAX_HEAD_BYTES || (headEnd < 0 && all.length > MAX_HEAD_BYTES)) throw new Error('an answer head of more than 64 KiB');
    if (headEnd < 0) {
      this.#partialHead = earlier === null ? Buffer.from(buffer) : all;
      return -1;
    }
    this.#partialHead = null;
    const head = parseHead(all.toString('latin1', 0, headEnd));
    const bodyAt = headEnd + 4 - (earlier?.length ?? 0);
    if (head.status < 200) {
      if (head.status === 101) throw new Error('an upgrade nobody asked for');
      if (bodyAt < buffer.length) this.#consume(buffer.subarray(bodyAt));
      return -1;
    }
    this.#begin(head);
    return bodyAt;
  }

  #begin(head: ResponseHead): void {
    this.#keepAlive = head.keepAlive;
    const framing = head.framing;
    this.#expect = framing.kind === 'chunked' ? CHUNKS : LENGTH;
    this.#left = framing.kind === 'length' ? framing.bytes : 0;
    this.#chunks.reset();
    this.#leg?.sink.head(head);
  }

  #complete(clean: boolean): void {
    const leg = this.#leg;
    if (this.#closed || leg === null) return;
    this.#leg = null;
    this.#expect = NOTHING;
    this.served += 1;
    leg.connection = null;
    if (clean && this.#keepAlive && this.#socket.writableLength === 0) this.#owner.idle(this);
    else this.destroy();
    leg.sink.end();
  }

  #lost(reason: string): void {
    this.#break({ kind: this.#connected ? 'lost' : 'connect', message: reason });
  }

  #break(failure: UpstreamFailure): void {
    if (this.#closed) return;
    const leg = this.#leg;
    this.destroy();
    if (leg === null) return;
    leg.connection = null;
    this.#owner.failed(this, leg, failure, this.#answered);
  }
}

/** Head and body in one buffer: one system call for what nearly always fits a segment, and no second copy for large bodies. */
function joined(head: string, body: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(head.length + body.length);
  bytes.write(head, 0, 'latin1');
  body.copy(bytes, head.length);
  return bytes;
}
