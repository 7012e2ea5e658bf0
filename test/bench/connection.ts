/** One raw keep-alive connection of the load generator: one request at a time, each answer checked. */
import net from 'node:net';
import { EventReader } from './events.ts';
import type { Answer } from './load-job.ts';
import { ResponseParser } from './response.ts';
import { monotonicMs } from './ticker.ts';

export type Outcome = Answer | { readonly error: string };

const READ_BYTES = 64 * 1024;

export class Connection {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #stream: boolean;
  #socket: net.Socket | null = null;
  #parser: ResponseParser | null = null;
  #settle: ((outcome: Outcome) => void) | null = null;
  #plannedMs = 0;
  #status = 0;
  #keepAlive = true;
  #text = '';
  #events = new EventReader();
  #firstMs = 0;
  #lastMs = 0;

  constructor(target: { readonly host: string; readonly port: number }, stream: boolean) {
    this.#target = target;
    this.#stream = stream;
  }

  /** Sends one request; calls back exactly once. `plannedMs` is the time that latency counts from. */
  send(request: Buffer, plannedMs: number, settle: (outcome: Outcome) => void): void {
    this.#settle = settle;
    this.#plannedMs = plannedMs;
    this.#text = '';
    this.#events = new EventReader();
    this.#firstMs = 0;
    const socket = this.#socket ?? this.#connect();
    socket.write(request);
  }

  /** Ends the connection; a request under way ends with `reason`. */
  close(reason: string): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.destroy();
    this.#finish({ error: reason });
  }

  #connect(): net.Socket {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    const onread = {
      buffer,
      callback: (size: number) => {
        if (this.#socket === socket) this.#read(buffer.subarray(0, size));
        return true;
      },
    };
    const socket = net.connect({ host: this.#target.host, port: this.#target.port, noDelay: true, onread });
    const lost = (reason: string) => {
      if (this.#socket === socket) this.close(reason);
    };
    socket.on('error', (error) => lost(error.message));
    socket.on('end', () => lost('connection closed before the answer was whole'));
    socket.on('close', () => lost('connection closed before the answer was whole'));
    this.#parser = new ResponseParser({
      head: (status, keepAlive) => {
        this.#status = status;
        this.#keepAlive = keepAlive;
      },
      body: (part) => this.#body(part),
      end: () => this.#end(),
    });
    this.#socket = socket;
    return socket;
  }

  #read(bytes: Buffer): void {
    try {
      this.#parser?.feed(bytes);
    } catch (error) {
      this.close(error instanceof Error ? error.message : String(error));
    }
  }

  #body(part: Buffer): void {
    if (!this.#stream || this.#status !== 200) {
      this.#text += part.toString('latin1');
      return;
    }
    if (this.#events.feed(part.toString('latin1')) === 0) return;
    this.#lastMs = monotonicMs();
    if (this.#firstMs === 0) this.#firstMs = this.#lastMs;
  }

  #end(): void {
    const now = monotonicMs();
    if (!this.#keepAlive) {
      this.#socket?.destroy();
      this.#socket = null;
    }
    const fault = this.#fault();
    this.#finish(fault === null ? this.#answer(now) : { error: fault });
  }

  #answer(now: number): Answer {
    const latencyMs = now - this.#plannedMs;
    if (!this.#stream) return { latencyMs, ttftMs: latencyMs, tpotMs: null, tokens: 0 };
    const tokens = this.#events.usageTokens ?? this.#events.tokens;
    const tpotMs = tokens > 1 ? (this.#lastMs - this.#firstMs) / (tokens - 1) : null;
    return { latencyMs, ttftMs: this.#firstMs - this.#plannedMs, tpotMs, tokens };
  }

  /** Why the answer does not count, or null. */
  #fault(): string | null {
    if (this.#status !== 200) return `status ${this.#status}: ${this.#text.slice(0, 160)}`;
    if (!this.#stream) return this.#text.includes('"choices"') ? null : `no choices in '${this.#text.slice(0, 160)}'`;
    if (this.#events.error !== null) return `error event ${this.#events.error}`;
    if (!this.#events.done) return 'stream without [DONE]';
    return this.#events.tokens === 0 ? 'stream without a token' : null;
  }

  #finish(outcome: Outcome): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.(outcome);
  }
}
