/**
 * Where a prefill and a decode instance meet, by a number that the router gave both. Either may come first. As with SGLang, one that
 * leaves does not say so: the other one waits until its time is over, or somebody tells it.
 *
 * What SGLang says over ZeroMQ goes over the bootstrap server's HTTP here (`/room/…`), and the decode instance fetches what SGLang's prefill
 * instance sends. Stricter than SGLang: a number that is in use is refused, where SGLang would mix two prompts up.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { type Clock, createServer, sleep } from '../../../shared/index.ts';
import { close, listen } from '../../openai/listen.ts';
import { sendJson, sendText } from '../../openai/replies.ts';
import type { HandOffTicket } from '../../port.ts';
import type { PinEnd, Pins } from '../nixl/pins.ts';

export interface RoomsOptions {
  readonly instance: string;
  readonly incarnation: string;
  readonly clock: Clock;
  readonly pins: Pins;
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
  /** Where the blocks can be fetched. */
  readonly transfer: { readonly host: string; readonly port: number };
  /** How long one waits for the other. SGLang: 300 s. */
  readonly leaseMs: number;
}

/** What the decode instance gets to know: where the blocks are, or why there are none. */
type Offer = { readonly ticket: HandOffTicket } | { readonly failed: string };

interface Room {
  readonly offer: PromiseWithResolvers<Offer>;
  readonly ended: PromiseWithResolvers<PinEnd>;
  /** The prefill instance's request is here. */
  entered: boolean;
  waiting: number;
}

const MOST_ROOMS = 16_384;
const ROOM_PATH = /^\/room\/(\d{1,19})$/;

export class Rooms {
  readonly #options: RoomsOptions;
  readonly #rooms = new Map<string, Room>();
  readonly #server: Server;

  constructor(options: RoomsOptions) {
    this.#options = options;
    options.pins.onEnded = (id, by) => this.#rooms.get(id)?.ended.resolve(by);
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
  }

  /** Rooms with somebody in them. */
  get size(): number {
    return this.#rooms.size;
  }

  async listen(host: string): Promise<{ readonly host: string; readonly port: number }> {
    return { host, port: (await listen(this.#server, host, 0)).port };
  }

  close(): Promise<void> {
    return close(this.#server);
  }

  /** The prefill instance's request comes. False when the number is in use. */
  enter(room: string): boolean {
    const known = this.#room(room);
    if (known === null || known.entered) return false;
    known.entered = true;
    return true;
  }

  /** Its prompt is computed and kept under the room's number. Resolves when that is over. */
  offer(room: string, promptTokens: number): Promise<PinEnd> {
    const known = this.#rooms.get(room);
    if (known === undefined) return Promise.resolve('owner');
    const { instance, incarnation, transfer, blockTokens, bytesPerBlock, leaseMs } = this.#options;
    const blocks = Math.ceil(promptTokens / blockTokens);
    const ticket = { instance, incarnation, ...transfer, lease: room, blocks, bytes: blocks * bytesPerBlock, leaseMs };
    known.offer.resolve({ ticket });
    return known.ended.promise;
  }

  /** The prompt cannot be computed: who waits is told. */
  fail(room: string, why: string): void {
    this.#rooms.get(room)?.offer.resolve({ failed: why });
    this.leave(room);
  }

  /** The prefill instance's request is over, whyever; who waits is told nothing. Idempotent. */
  leave(room: string): void {
    const known = this.#rooms.get(room);
    if (known?.entered !== true) return;
    this.#rooms.delete(room);
    this.#options.pins.drop(room);
  }

  #room(room: string): Room | null {
    const known = this.#rooms.get(room);
    if (known !== undefined) return known;
    if (this.#rooms.size >= MOST_ROOMS) return null;
    const made: Room = { offer: Promise.withResolvers(), ended: Promise.withResolvers(), entered: false, waiting: 0 };
    this.#rooms.set(room, made);
    return made;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://bootstrap');
    const room = ROOM_PATH.exec(pathname)?.[1];
    if (pathname === '/health') return sendText(response, 200, 'OK', {});
    if (pathname === '/route') return sendJson(response, 200, this.#route(searchParams));
    if (room === undefined) return sendText(response, 404, 'Not Found', {});
    const left = new AbortController();
    response.on('close', () => left.abort());
    sendJson(response, 200, await this.#wait(room, left.signal));
  }

  /** What a decode instance asks first: all ranks -1 = how the prefill instance is built, else where one rank is. */
  #route(asked: URLSearchParams): object {
    const { transfer, blockTokens } = this.#options;
    const ranks = ['prefill_dp_rank', 'prefill_cp_rank', 'target_tp_rank', 'target_pp_rank'];
    if (ranks.some((name) => asked.get(name) !== '-1')) return { rank_ip: transfer.host, rank_port: transfer.port };
    return { attn_tp_size: 1, attn_cp_size: 1, dp_size: 1, pp_size: 1, page_size: blockTokens, follow_bootstrap_room: true };
  }

  async #wait(room: string, signal: AbortSignal): Promise<Offer> {
    const { clock, leaseMs } = this.#options;
    const known = this.#room(room);
    if (known === null) return { failed: 'there are too many rooms' };
    known.waiting += 1;
    const late = sleep(clock, leaseMs, signal).then(() => ({ failed: `nobody came to the room for ${leaseMs} ms` }));
    try {
      return await Promise.race([known.offer.promise, late]);
    } finally {
      known.waiting -= 1;
      if (!known.entered && known.waiting === 0 && this.#rooms.get(room) === known) this.#rooms.delete(room);
    }
  }
}
