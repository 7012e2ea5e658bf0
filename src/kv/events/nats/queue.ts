/** The queue of commands on a JetStream work queue: one durable consumer per target, explicit acks, ids known to the server. */
import { AckPolicy, type ConsumerMessages, type JsMsg, nanos } from 'nats';
import type { Clock } from '../../../shared/index.ts';
import { againMs, checkCommand, type Hand, outcomeOf, type QueueTerms, RecentIds } from '../command.ts';
import { tokenOf } from '../names.ts';
import type { Command, Delivery, Worker, WorkOutcome, WorkQueue } from '../port.ts';
import type { Attached, Link } from './link.ts';

export interface NatsQueueOptions {
  readonly link: Link;
  readonly clock: Clock;
  readonly root: string;
  readonly stream: string;
  readonly terms: QueueTerms;
}

/** As the server knows it too. */
const ID_HEADER = 'Nats-Msg-Id';
const HEARTBEAT_MS = 1_000;
/** Consumers of targets that are gone for so long end. */
const INACTIVE_MS = 3_600_000;
const REOPEN_MS = 500;

export class NatsQueue implements WorkQueue {
  readonly #options: NatsQueueOptions;

  constructor(options: NatsQueueOptions) {
    this.#options = options;
  }

  async add(command: Command): Promise<'added' | 'known'> {
    checkCommand(command);
    const { link, root } = this.#options;
    const { duplicate } = await link.publish(`${root}.work.${tokenOf(command.target)}`, command.body, command.id);
    return duplicate ? 'known' : 'added';
  }

  work(target: string, handler: (delivery: Delivery) => Promise<WorkOutcome>): Worker {
    return new NatsWorker(this.#options, target, handler);
  }
}

class NatsWorker implements Worker {
  readonly #options: NatsQueueOptions;
  readonly #target: string;
  readonly #hand: Hand;
  readonly #stopListening: () => void;
  readonly #underWay = new Map<string, Promise<WorkOutcome>>();
  #on: Attached | null = null;
  #messages: ConsumerMessages | null = null;
  #stopped = false;

  constructor(options: NatsQueueOptions, target: string, handler: (delivery: Delivery) => Promise<WorkOutcome>) {
    this.#options = options;
    this.#target = target;
    this.#hand = { handler, done: new RecentIds(options.terms.maxCommands) };
    this.#stopListening = options.link.onChange(() => this.#follow());
    this.#follow();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopListening();
    this.#messages?.stop();
  }

  #follow(): void {
    const { attached } = this.#options.link;
    if (attached === this.#on || this.#stopped) return;
    this.#on = attached;
    this.#messages?.stop();
    this.#messages = null;
    if (attached !== null) void this.#open(attached);
  }

  async #open(attached: Attached): Promise<void> {
    const { link, root, stream, terms, clock } = this.#options;
    const token = tokenOf(this.#target);
    try {
      const filter = { filter_subject: `${root}.work.${token}` };
      const bounds = { ack_wait: nanos(terms.ackMs), max_deliver: terms.maxDeliveries, max_ack_pending: terms.atOnce };
      const kept = { inactive_threshold: nanos(INACTIVE_MS), mem_storage: true };
      const { consumers } = attached.manager;
      const config = { durable_name: token, ack_policy: AckPolicy.Explicit, ...filter, ...bounds, ...kept };
      // One that is there with other bounds gets ours.
      await consumers.add(stream, config).catch(() => consumers.update(stream, token, bounds));
      const consumer = await attached.client.consumers.get(stream, token);
      const callback = (message: JsMsg) => void this.#carryOut(message);
      const pull = { max_messages: terms.atOnce, idle_heartbeat: HEARTBEAT_MS, abort_on_missing_resource: true };
      const messages = await consumer.consume({ ...pull, callback });
      if (this.#stopped || this.#on !== attached) return messages.stop();
      this.#messages = messages;
      // Somebody deleted it or its stream; both are made anew with the next connection.
      void messages.closed().then((error) => (error ? link.giveUp(attached, error) : undefined));
    } catch {
      clock.after(REOPEN_MS, () => {
        if (!this.#stopped && this.#on === attached && link.attached === attached) void this.#open(attached);
      });
    }
  }

  async #carryOut(message: JsMsg): Promise<void> {
    const id = message.headers?.get(ID_HEADER) ?? '';
    const attempt = message.info.deliveryCount;
    // Delivered again while it is under way here: whoever ends it acknowledges both.
    const running = this.#underWay.get(id);
    const outcome = running ?? outcomeOf(this.#hand, { id, target: this.#target, body: message.string(), attempt });
    if (!running) this.#underWay.set(id, outcome);
    const keep = this.#keepAlive(message);
    try {
      if ((await outcome) === 'done') await message.ackAck().catch(() => false);
      else if (attempt < this.#options.terms.maxDeliveries) message.nak(againMs(attempt));
      else message.term();
    } finally {
      keep();
      if (!running) this.#underWay.delete(id);
    }
  }

  /** Tells the server that the command is still being carried out. @returns how to stop */
  #keepAlive(message: JsMsg): () => void {
    const { link, clock, terms } = this.#options;
    let cancel = () => {};
    const next = () => {
      cancel = clock.after(terms.ackMs / 3, () => {
        if (link.closed) return;
        message.working();
        next();
      });
    };
    next();
    return () => cancel();
  }
}
