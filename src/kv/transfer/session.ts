/**
 * One connection of the server: reads one request, sends its blocks, waits for the acknowledgement.
 *
 * Invariants
 * - Nothing is buffered beyond one request of bounded size and one batch of blocks.
 * - In every state exactly one timer runs, and each ends the connection (or, under a byte budget, sends on).
 * - The lease is released by the acknowledgement of all wanted blocks alone.
 */
import type { Socket } from 'node:net';
import type { Cancel, Clock } from '../../shared/index.ts';
import type { KvBlock } from '../host/block.ts';
import { Batch } from './batch.ts';
import type { PeerBudgets } from './budget.ts';
import {
  blockFrameBytes,
  controlFrame,
  decodeRequest,
  FRAME,
  HEADER_BYTES,
  type Header,
  maxRequestBytes,
  type RefusalCode,
  readHeader,
  type TransferRequest,
} from './frames.ts';
import type { BlockSource, LeaseKeeper } from './port.ts';
import type { TransferLimits } from './server.ts';
import type { Staging } from './staging.ts';

export interface SessionContext {
  readonly source: BlockSource;
  readonly leases: LeaseKeeper;
  readonly clock: Clock;
  readonly limits: TransferLimits;
  readonly budgets: PeerBudgets | null;
  readonly staging: Staging;
  /** Added to as things happen. */
  readonly counts: { sentBlocks: number; sentBytes: number; acknowledged: number; refused: number; timedOut: number };
  readonly closed: () => void;
}

/** First batch; later ones double up to `inFlightBytes`, so that a slow peer is not asked for much before it shows its pace. */
const FIRST_BATCH_BYTES = 262_144;
/** A batch that takes longer halves the next one. */
const SLOW_BATCH_MS = 1000;

export class ServingSession {
  readonly #socket: Socket;
  readonly #context: SessionContext;
  #input: Buffer = Buffer.allocUnsafe(HEADER_BYTES);
  #inputBytes = 0;
  #header: Header | null = null;
  #request: TransferRequest | null = null;
  #peer = '';
  /** Blocks of the request handed to the socket. */
  #next = 0;
  #batchBytes = FIRST_BATCH_BYTES;
  #renewedAt = 0;
  #endSent = false;
  #ending = false;
  #cancelTimer: Cancel | null = null;

  constructor(socket: Socket, context: SessionContext) {
    this.#socket = socket;
    this.#context = context;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    // A lost connection needs no answer; 'close' follows.
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#ending = true;
      this.#cancelTimer?.();
      context.closed();
    });
    this.#watch(context.limits.requestTimeoutMs);
  }

  /** Drops the connection; resolves when it is closed. */
  shutDown(): Promise<void> {
    this.#ending = true;
    return new Promise((resolve) => {
      this.#socket.once('close', () => resolve());
      this.#socket.destroy();
    });
  }

  /** Replaces the running timer by one that drops the connection. */
  #watch(ms: number): void {
    this.#after(ms, () => {
      this.#context.counts.timedOut += 1;
      void this.shutDown();
    });
  }

  #after(ms: number, run: () => void): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#context.clock.after(ms, run);
  }

  #take(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#ending) {
      const count = chunk.copy(this.#input, this.#inputBytes, at);
      at += count;
      this.#inputBytes += count;
      if (this.#inputBytes < this.#input.length) continue;
      const refusal = this.#understand();
      if (refusal !== null) this.#refuse(refusal, 0);
    }
  }

  /** Called when `#input` is full: with a header, or with the payload of the request. Returns why the connection cannot go on. */
  #understand(): RefusalCode | null {
    if (this.#header) return this.#accept(this.#header);
    const header = readHeader(this.#input, 0);
    if ('malformed' in header) return header.version ? 2 : 1;
    if (this.#request) return this.#acknowledge(header, this.#request);
    if (header.type !== FRAME.request || header.length === 0) return 1;
    const { maxKeys } = this.#context.limits;
    if (header.count > maxKeys || header.length > maxRequestBytes(maxKeys)) return 3;
    this.#header = header;
    this.#input = Buffer.allocUnsafe(header.length);
    this.#inputBytes = 0;
    return null;
  }

  #accept(header: Header): RefusalCode | null {
    const request = decodeRequest(header, this.#input);
    if ('malformed' in request) return 1;
    this.#header = null;
    this.#input = Buffer.allocUnsafe(HEADER_BYTES);
    this.#inputBytes = 0;
    this.#request = request;
    if (!this.#context.leases.renew(request.lease)) return 4;
    this.#renewedAt = this.#context.clock.now();
    this.#batchBytes = Math.min(FIRST_BATCH_BYTES, this.#mostBatchBytes());
    this.#peer = request.peer || (this.#socket.remoteAddress ?? '');
    this.#socket.write(controlFrame(FRAME.accept, request.from, request.keys.length));
    this.#send(request);
    return null;
  }

  /** Sends the next batch, and itself again when the socket took it. */
  #send(request: TransferRequest): void {
    const { clock, limits, leases, budgets } = this.#context;
    if (this.#ending || request !== this.#request) return;
    const startedAt = clock.now();
    if (startedAt - this.#renewedAt >= limits.renewEveryMs) {
      if (!leases.renew(request.lease)) {
        this.#refuse(4, request.from + this.#next);
        return;
      }
      this.#renewedAt = startedAt;
    }
    this.#watch(limits.idleTimeoutMs);
    if (this.#next === request.keys.length) {
      this.#sendEnd(request);
      return;
    }
    const sentBefore = this.#context.counts.sentBytes;
    const refusal = this.#writeBatch(request, (error) => {
      if (error) return;
      const now = clock.now();
      this.#batchBytes = now - startedAt > SLOW_BATCH_MS ? this.#batchBytes / 2 : Math.min(this.#batchBytes * 2, this.#mostBatchBytes());
      const waitMs = budgets ? budgets.of(this.#peer, now).take(sent, now) : 0;
      if (waitMs > 0) this.#after(waitMs, () => this.#send(request));
      else this.#send(request);
    });
    const sent = this.#context.counts.sentBytes - sentBefore;
    if (refusal !== null) this.#refuse(refusal, request.from + this.#next);
  }

  /** Once per request. The acknowledgement can come first, since the client has all blocks by then. */
  #sendEnd(request: TransferRequest): void {
    if (this.#endSent) return;
    this.#endSent = true;
    this.#socket.write(controlFrame(FRAME.end, request.from + request.keys.length, 0));
  }

  /**
   * Hands a batch of blocks to the socket. Those that are kept as frames go from where they are, others are put together first; frames
   * that lie behind each other are one write, since a write per block costs the socket's machinery more than copying its bytes does.
   * `taken` is called when the socket took them all. Returns why it stopped early, if it did.
   */
  #writeBatch(request: TransferRequest, taken: (error?: Error | null) => void): RefusalCode | null {
    const { source, counts } = this.#context;
    const last = Math.min(request.keys.length, this.#next + Math.max(1, Math.floor(this.#batchBytes / blockFrameBytes(request))));
    const batch = new Batch(request, last - this.#next, this.#context.staging);
    let refusal: RefusalCode | null = null;
    while (this.#next < last) {
      const block = source.block(request.keys[this.#next] as string);
      refusal = refusalOf(block, request);
      if (!block || refusal !== null) break;
      batch.add(block);
      this.#next += 1;
      counts.sentBlocks += 1;
      counts.sentBytes += request.bytesPerBlock;
    }
    batch.writeTo(this.#socket, (error) => {
      if (refusal === null) taken(error);
    });
    return refusal;
  }

  /** Under a byte budget a batch is what a quarter of a second allows, so that the lease is renewed while waiting for more. */
  #mostBatchBytes(): number {
    const { limits, budgets } = this.#context;
    return Math.min(limits.inFlightBytes, budgets ? budgets.bytesPerSecond / 4 : limits.inFlightBytes);
  }

  #acknowledge(header: Header, request: TransferRequest): RefusalCode | null {
    if (header.type !== FRAME.ack || this.#next !== request.keys.length) return 1;
    this.#context.leases.release(request.lease);
    this.#context.counts.acknowledged += 1;
    this.#sendEnd(request);
    // Ready for the next request of this peer.
    this.#request = null;
    this.#next = 0;
    this.#endSent = false;
    this.#inputBytes = 0;
    this.#watch(this.#context.limits.keepMs);
    return null;
  }

  #refuse(code: RefusalCode, index: number): void {
    this.#ending = true;
    this.#context.counts.refused += 1;
    this.#watch(this.#context.limits.requestTimeoutMs);
    this.#socket.end(controlFrame(FRAME.error, index, code));
  }
}

function refusalOf(block: KvBlock | null, request: TransferRequest): RefusalCode | null {
  if (!block) return 5;
  return block.bytes.byteLength === request.bytesPerBlock && block.tokens.length === request.blockTokens ? null : 6;
}
