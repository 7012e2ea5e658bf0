/**
 * Follows the KV events of one engine over its publisher, so that the ledger is right or knows too little, never too much.
 *
 * The publisher drops messages when we are slow and starts from 0 when the engine does. So every message must have the number after the
 * last one taken; if it has not, or the connection was cut, or nothing came for a while, the engine is asked to repeat what it sent
 * **from the last message taken on**. If its first answer is that very message, byte for byte, what follows continues what we know; if
 * not, the engine has another life or no longer has the message, and the ledger starts empty. Live messages that come meanwhile are held.
 *
 * What can not be repeated is given up: the ledger starts empty from the oldest message at hand. So it does after a message that can not
 * be read, since it may have said that blocks went.
 */
import { Subscriber } from 'zeromq';
import type { Cancel, Clock } from '../../../shared/index.ts';
import { decodeBatch, MAX_PAYLOAD_BYTES } from './decode.ts';
import { EventFormatError } from './event.ts';
import { type PublishedMessage, readPublished } from './frames.ts';
import type { BlockLedger } from './ledger.ts';
import { replay } from './replay.ts';

export interface SubscriberLimits {
  /** Longest silence between two repeated messages, in milliseconds. */
  readonly answerMs: number;
  /** Longest time for coming up to date, in milliseconds; then what is missing is given up. */
  readonly catchUpMs: number;
  /** Questions in a row that bring nothing new before what is missing is given up. */
  readonly fruitlessRounds: number;
  /** Live messages held while coming up to date; more are left to the next question. */
  readonly heldMessages: number;
  readonly heldBytes: number;
  /** Quiet time after which we ask whether anything was missed, in milliseconds. */
  readonly quietMs: number;
}

const LIMITS: SubscriberLimits = {
  answerMs: 2_000,
  catchUpMs: 20_000,
  fruitlessRounds: 3,
  heldMessages: 20_000,
  heldBytes: 64 << 20,
  quietMs: 5_000,
};

export interface EventSubscriberOptions {
  /** Address of the publisher, to connect to, for example `tcp://127.0.0.1:5557`. */
  readonly endpoint: string;
  readonly replayEndpoint: string;
  /** Topics that start with this are followed; '' = all. */
  readonly topic: string;
  readonly ledger: Pick<BlockLedger, 'apply' | 'clear'>;
  readonly clock: Clock;
  readonly limits?: Partial<SubscriberLimits>;
  /** Told in words when what was known had to be given up. */
  readonly warn?: (text: string) => void;
}

export interface SubscriberStats {
  /** Messages that the ledger got. */
  readonly taken: number;
  /** Times that a message was not the next one. */
  readonly gaps: number;
  /** Times that what we knew was not what the engine continues. */
  readonly restarts: number;
  /** Times that something missing could not be had. */
  readonly givenUp: number;
  readonly malformed: number;
  /** Events of unknown types or media. */
  readonly skippedEvents: number;
  /** Live messages not held for lack of room. */
  readonly notHeld: number;
}

export class EventSubscriber {
  readonly #options: EventSubscriberOptions;
  readonly #limits: SubscriberLimits;
  readonly #socket: Subscriber;
  readonly #ending = new AbortController();
  readonly #stats = { taken: 0, gaps: 0, restarts: 0, givenUp: 0, malformed: 0, skippedEvents: 0, notHeld: 0 };
  /** Last message taken, and the number that must come after it. Both null: nothing is known, the ledger is empty. */
  #last: PublishedMessage | null = null;
  #next: number | null = null;
  /** The number that the next live message has at least, while the engine lives. */
  #liveNext = 0;
  /** The connection was cut or numbers fell since we were last up to date: a fitting number may be that of another life. */
  #isSuspect = false;
  #catchingUp: Promise<void> | null = null;
  #held: PublishedMessage[] = [];
  #heldBytes = 0;
  #lastTakenAt = 0;
  #cancelTimer: Cancel | null = null;
  #reading: Promise<void> | null = null;

  constructor(options: EventSubscriberOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#socket = new Subscriber({
      linger: 0,
      receiveHighWaterMark: this.#limits.heldMessages,
      maxMessageSize: MAX_PAYLOAD_BYTES,
      reconnectInterval: 100,
      reconnectMaxInterval: 1_000,
      // A peer that vanished without a word is noticed.
      heartbeatInterval: 2_000,
      heartbeatTimeout: 6_000,
    });
  }

  get stats(): SubscriberStats {
    return { ...this.#stats };
  }

  /** Connects and comes up to date, or gives that up for now; then follows until closed. Call it once. */
  async start(): Promise<void> {
    const { endpoint, topic } = this.#options;
    const { events } = this.#socket;
    events.on('disconnect', () => {
      this.#isSuspect = true;
    });
    events.on('handshake', () => {
      if (this.#isSuspect) void this.#catchUp();
    });
    this.#socket.connect(endpoint);
    this.#socket.subscribe(topic);
    this.#reading = this.#read();
    this.#watch();
    await this.#catchUp();
  }

  /** Resolves when nothing of it is left. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort();
    this.#cancelTimer?.();
    this.#socket.close();
    await Promise.all([this.#reading, this.#catchingUp]);
  }

  async #read(): Promise<void> {
    try {
      for await (const frames of this.#socket) this.#hear(frames);
    } catch (error) {
      if (!this.#ending.signal.aborted) throw error;
    }
  }

  #hear(frames: readonly Buffer[]): void {
    let message: PublishedMessage;
    try {
      message = readPublished(frames);
    } catch (error) {
      if (!(error instanceof EventFormatError)) throw error;
      this.#stats.malformed += 1;
      return;
    }
    const { seq } = message;
    if (seq < this.#liveNext) this.#isSuspect = true;
    this.#liveNext = seq + 1;
    if (this.#catchingUp === null && !this.#isSuspect && this.#next !== null) {
      // A repeated message can be here before its live copy.
      if (seq < this.#next) return;
      if (seq === this.#next) return this.#take(message);
    }
    if (this.#catchingUp === null) this.#stats.gaps += 1;
    this.#hold(message);
    void this.#catchUp();
  }

  #hold(message: PublishedMessage): void {
    if (this.#held.length >= this.#limits.heldMessages || this.#heldBytes + message.payload.length > this.#limits.heldBytes) {
      this.#stats.notHeld += 1;
      return;
    }
    this.#held.push(message);
    this.#heldBytes += message.payload.length;
  }

  #take(message: PublishedMessage): void {
    const { ledger, clock } = this.#options;
    this.#stats.taken += 1;
    this.#last = message;
    this.#next = message.seq + 1;
    this.#lastTakenAt = clock.now();
    try {
      const { events, skipped } = decodeBatch(message.payload);
      this.#stats.skippedEvents += skipped;
      ledger.apply(events);
    } catch (error) {
      if (!(error instanceof EventFormatError)) throw error;
      this.#stats.malformed += 1;
      ledger.clear();
      this.#warn(`message ${message.seq} can not be read (${error.message})`);
    }
  }

  #catchUp(): Promise<void> {
    this.#catchingUp ??= this.#comeUpToDate();
    return this.#catchingUp;
  }

  /** Asks until everything up to the newest message at hand is taken. Never rejects for what the engine does. */
  async #comeUpToDate(): Promise<void> {
    const { clock } = this.#options;
    const deadline = clock.now() + this.#limits.catchUpMs;
    let fruitless = 0;
    while (fruitless < this.#limits.fruitlessRounds && clock.now() < deadline) {
      const before = this.#next;
      const answer = await this.#ask();
      if (this.#ending.signal.aborted) return;
      if (answer === 'another life') this.#startEmpty();
      else if (answer === 'complete' && this.#takeHeld()) return this.#upToDate();
      fruitless = this.#next === before ? fruitless + 1 : 0;
    }
    this.#giveUp();
  }

  async #ask(): Promise<'complete' | 'incomplete' | 'another life'> {
    const last = this.#last;
    let isContinued = last === null;
    const take = (message: PublishedMessage) => {
      if (!isContinued) {
        isContinued = message.seq === last?.seq && message.payload.equals(last.payload);
        return isContinued;
      }
      // The oldest message that the engine still has may be any.
      if (this.#last !== null && message.seq !== this.#next) return false;
      this.#take(message);
      return true;
    };
    const options = { endpoint: this.#options.replayEndpoint, answerMs: this.#limits.answerMs, signal: this.#ending.signal };
    const end = await replay(options, last?.seq ?? 0, take);
    if (end === 'silent') return 'incomplete';
    if (!isContinued) return 'another life';
    if (end === 'stopped') return 'incomplete';
    this.#next ??= 0;
    return 'complete';
  }

  /** False when a message between the last one taken and those held is missing. */
  #takeHeld(): boolean {
    let at = 0;
    for (const message of this.#held) {
      if (this.#next === null || message.seq > this.#next) break;
      if (message.seq === this.#next) this.#take(message);
      at += 1;
    }
    this.#held = this.#held.slice(at);
    this.#heldBytes = this.#held.reduce((sum, { payload }) => sum + payload.length, 0);
    return this.#held.length === 0;
  }

  #upToDate(): void {
    this.#catchingUp = null;
    this.#isSuspect = false;
    this.#lastTakenAt = this.#options.clock.now();
  }

  #startEmpty(): void {
    this.#stats.restarts += 1;
    this.#forget();
    this.#warn('the engine does not continue the last message that we have');
  }

  /** Goes on from what is held. When nothing is known to be missing, what is known stays and is looked at again later. */
  #giveUp(): void {
    this.#catchingUp = null;
    if (this.#held.length === 0 || (!this.#isSuspect && this.#takeHeld())) return;
    this.#stats.givenUp += 1;
    this.#forget();
    this.#warn('messages are missing and can not be had again');
    for (const message of this.#held) {
      if (this.#next !== null && message.seq !== this.#next) this.#forget();
      this.#take(message);
    }
    this.#held = [];
    this.#heldBytes = 0;
    this.#isSuspect = false;
  }

  #forget(): void {
    this.#last = null;
    this.#next = null;
    this.#options.ledger.clear();
  }

  #warn(what: string): void {
    this.#options.warn?.(`KV events: ${what}; what is cached on this instance is learned anew`);
  }

  #watch(): void {
    const { clock } = this.#options;
    this.#cancelTimer = clock.after(this.#limits.quietMs, () => {
      if (clock.now() - this.#lastTakenAt >= this.#limits.quietMs) void this.#catchUp();
      this.#watch();
    });
  }
}
