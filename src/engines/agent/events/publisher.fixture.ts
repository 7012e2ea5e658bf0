/** A publisher of KV events that behaves as vLLM's does, and worse when told to. */
import { setTimeout as delay } from 'node:timers/promises';
import { Router, XPublisher } from 'zeromq';

const END = Buffer.alloc(8, 0xff);
const BIND_TRIES = 500;

export interface FakeOptions {
  /** Addresses to bind again after a restart; random ports otherwise. */
  readonly endpoint?: string;
  readonly replayEndpoint?: string;
  /** Messages kept for replay. */
  readonly kept?: number;
}

export class FakePublisher {
  /** As many as vLLM lets wait for a slow subscriber. */
  readonly #publisher = new XPublisher({ linger: 0, sendHighWaterMark: 100_000 });
  readonly #router = new Router({ linger: 0 });
  readonly #kept: number;
  #buffer: { readonly seq: number; readonly payload: Uint8Array }[] = [];
  #life: number;
  #next = 0;
  #subscribed: () => void = () => undefined;
  /** Resolves when a subscriber has come. */
  readonly subscribed = new Promise<void>((resolve) => {
    this.#subscribed = resolve;
  });
  /** Start of every replay that was asked for. */
  readonly asked: number[] = [];
  /** False: questions are heard and not answered. */
  answers = true;
  /** Replay answers to leave out once, by seq; -1 = the last answer. */
  readonly dropAnswers = new Set<number>();
  /** Called when a question was heard, before it is answered. */
  beforeAnswer: () => Promise<void> = () => Promise.resolve();
  endpoint = '';
  replayEndpoint = '';

  constructor(life: number, kept: number) {
    this.#life = life;
    this.#kept = kept;
  }

  static async start(life: number, options: FakeOptions = {}): Promise<FakePublisher> {
    const fake = new FakePublisher(life, options.kept ?? 10_000);
    await bind(fake.#publisher, options.endpoint);
    await bind(fake.#router, options.replayEndpoint);
    fake.endpoint = fake.#publisher.lastEndpoint ?? '';
    fake.replayEndpoint = fake.#router.lastEndpoint ?? '';
    void fake.#serve();
    void fake.#greet();
    return fake;
  }

  /** The payload of a message: the removal of block number `seq`, with a time that tells one life from another. */
  payloadOf(seq: number): Uint8Array {
    const time = Buffer.alloc(8);
    time.writeDoubleBE(this.#life + seq / 1000);
    const text = (bytes: string) => Buffer.from(bytes, 'latin1');
    const removal = [text('\x83\xa4type\xacBlockRemoved\xacblock_hashes\x91\xcf'), seqFrame(seq), text('\xa6medium\xa3GPU')];
    return Buffer.concat([text('\x93\xcb'), time, text('\x91'), ...removal, text('\x00')]);
  }

  /** Publishes the next `count` messages; `lost` ones are kept for replay and reach nobody. */
  async publish(count: number, how: { lost?: boolean; payload?: Uint8Array } = {}): Promise<void> {
    for (let sent = 0; sent < count; sent++) {
      const seq = this.#next;
      this.#next += 1;
      const payload = how.payload ?? this.payloadOf(seq);
      this.#buffer.push({ seq, payload });
      if (this.#buffer.length > this.#kept) this.#buffer.shift();
      if (how.lost !== true) await this.sendRaw(['kv', seqFrame(seq), payload]);
    }
  }

  /** Sends frames as they are. */
  async sendRaw(frames: readonly (string | Uint8Array)[]): Promise<void> {
    await this.#publisher.send(frames.map((frame) => Buffer.from(frame)));
  }

  /** Starts to count from 0 with nothing kept, as a new process would, but without cutting connections. */
  beginLife(life: number): void {
    this.#life = life;
    this.#next = 0;
    this.#buffer = [];
  }

  close(): void {
    this.#publisher.close();
    this.#router.close();
  }

  async #greet(): Promise<void> {
    for await (const [message] of this.#publisher) if (message?.[0] === 1) this.#subscribed();
  }

  async #serve(): Promise<void> {
    for await (const [id, , from] of this.#router) {
      if (id === undefined || from === undefined) continue;
      const start = Number(from.readBigUInt64BE());
      this.asked.push(start);
      if (!this.answers) continue;
      await this.beforeAnswer();
      for (const { seq, payload } of this.#buffer) {
        if (seq >= start && !this.dropAnswers.delete(seq))
          await this.#router.send([id, Buffer.alloc(0), Buffer.from('kv'), seqFrame(seq), payload]);
      }
      if (!this.dropAnswers.delete(-1)) await this.#router.send([id, Buffer.alloc(0), Buffer.alloc(0), END, Buffer.alloc(0)]);
    }
  }
}

/** Sockets let go of their address a moment after they are closed. */
async function bind(socket: XPublisher | Router, endpoint = 'tcp://127.0.0.1:*'): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await socket.bind(endpoint);
    } catch (error) {
      if (tries === BIND_TRIES) throw error;
      await delay(10);
    }
  }
}

export function seqFrame(seq: number): Buffer {
  const frame = Buffer.alloc(8);
  frame.writeBigInt64BE(BigInt(seq));
  return frame;
}
