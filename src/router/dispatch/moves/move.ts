/**
 * One move of a flight's stream: asks both instances for what the machine says (kv/migration), and tells it what came of it. The stream
 * itself stays the flight's: this only says when it changes hands.
 */
import {
  type AbortReason,
  type MigrationCommand,
  MigrationExecutor,
  type MigrationLimits,
  type MigrationMessage,
  type Transition,
} from '../../../kv/index.ts';
import type { Clock } from '../../../shared/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { MoveRecord } from '../../record/index.ts';
import { type BufferedAnswer, FetchError, fetchBuffered } from '../../upstream/index.ts';
import type { Choice } from '../choose.ts';
import type { Message, MoveSpeech } from '../dialects/index.ts';

/** The flight, as its move needs it. */
export interface MovedFlight {
  /** Opens the leg whose first token makes the target the owner. */
  switchTo(choice: Choice, message: Message): void;
  /** Nobody works on the stream any more: it has to be resumed. */
  stranded(why: string): void;
  /** It is over. The flight forgets it before it does anything else. */
  moveOver(move: Move): void;
}

/** What all moves of a router share. */
export interface MoveContext {
  readonly limits: MigrationLimits;
  readonly newId: () => string;
  readonly onTransition: (transition: Transition) => void;
  readonly onOver: (record: MoveRecord) => void;
}

export interface MoveOptions {
  readonly flight: MovedFlight;
  readonly speech: MoveSpeech;
  readonly source: Instance;
  readonly choice: Choice;
  readonly record: MoveRecord;
  readonly clock: Clock;
  readonly pullMs: number;
  readonly firstTokenMs: number;
  readonly context: MoveContext;
}

const MAX_ANSWER_BYTES = 65_536;
/** Giving back is tried once; what it does not reach ends by its lease. */
const RELEASE_MS = 1_000;

type Fields = Readonly<Record<string, unknown>>;
/** Everything of a message but the move that it belongs to. */
type News = MigrationMessage extends infer M ? (M extends MigrationMessage ? Omit<M, 'migration'> : never) : never;

export class Move {
  readonly record: MoveRecord;
  readonly #options: MoveOptions;
  readonly #generation: number;
  readonly #startedAt: number;
  readonly #abort = new AbortController();
  #executor: MigrationExecutor | null = null;
  /** Of the source, for the target: handed on as it is. */
  #ticket: Fields | null = null;
  /** Generated tokens that the target knows. */
  #known = 0;
  /** The flight goes its own way. */
  #left = false;

  constructor(options: MoveOptions) {
    this.#options = options;
    this.record = options.record;
    this.#generation = options.speech.nextGeneration();
    this.#startedAt = options.clock.now();
  }

  get target(): Instance {
    return this.#options.choice.decode;
  }

  start(): void {
    const { speech, source, clock, context, record } = this.#options;
    const request = { id: record.id, session: speech.session, from: source.id, to: this.target.id, generation: this.#generation };
    this.#executor = new MigrationExecutor({
      request,
      clock,
      limits: context.limits,
      perform: (command) => this.#perform(command),
      onTransition: (transition) => this.#took(transition),
    });
  }

  /** The source said its last token. */
  stopped(): void {
    this.#tell({ type: 'stopped' });
  }

  /** The target said its first token. @param pauseMs since the last event of the source */
  spoke(pauseMs: number): void {
    this.record.pauseMs = pauseMs;
    this.#tell({ type: 'spoke' });
  }

  /** The flight's leg failed, and the flight takes care of that itself. */
  interrupted(): void {
    this.#left = true;
    this.#tell({ type: 'failed', reason: 'lost' });
  }

  /** The flight is over. */
  ended(): void {
    this.#left = true;
    this.#tell({ type: 'ended' });
  }

  #tell(news: News): void {
    this.#executor?.tell({ ...news, migration: this.record.id });
  }

  #took(transition: Transition): void {
    const { next } = transition;
    const { clock, context, flight, speech } = this.#options;
    const { record } = this;
    Object.assign(record, { state: next.state, reason: next.reason, blocks: next.blocks, bytes: next.bytes });
    record.tookMs = clock.now() - this.#startedAt;
    if (next.step === 'switching' && record.pauseMs === null) record.tokens = speech.tokenIds.length;
    context.onTransition(transition);
    if (next.state !== 'aborted' && next.state !== 'released') return;
    this.#abort.abort();
    context.onOver(record);
    flight.moveOver(this);
  }

  #perform(command: MigrationCommand): void {
    const { source, flight, choice, speech, pullMs } = this.#options;
    const { replyMs, copyMs } = this.#options.context.limits;
    switch (command) {
      case 'reserve':
        return this.#reserve(replyMs);
      case 'offer':
        return this.#ask(source, this.#command('offer', source, {}), copyMs, ({ ticket }) => {
          if (!isObject(ticket)) return null;
          this.#ticket = ticket;
          return { type: 'offered' };
        });
      case 'pull': {
        const message = this.#command('pull', this.target, { ticket: this.#ticket, deadlineMs: pullMs });
        return this.#ask(this.target, message, copyMs, ({ handOff }) => {
          if (!isObject(handOff)) return null;
          const { blocks, bytes } = handOff;
          return typeof blocks === 'number' && typeof bytes === 'number' ? { type: 'pulled', blocks, bytes } : null;
        });
      }
      case 'follow': {
        const message = this.#command('follow', this.target, this.#news());
        return this.#ask(this.target, message, copyMs, () => ({ type: 'followed', behind: speech.tokenIds.length - this.#known }));
      }
      case 'stop':
        // The stream itself says when it has.
        return this.#ask(source, this.#command('stop', source, {}), replyMs, () => 'wait');
      case 'commit':
        return flight.switchTo(choice, this.#command('commit', this.target, { ...this.#news(), deadlineMs: this.#options.firstTokenMs }));
      case 'releaseSource':
        return this.#release(source, () => this.#tell({ type: 'released' }));
      case 'cancelTarget':
        return this.#release(this.target, () => undefined);
      case 'resume':
        return this.#left ? undefined : flight.stranded(`its move to ${this.target.id} failed`);
    }
  }

  /** Tokens that went out since the target was told last. */
  #news(): Fields {
    const { tokenIds } = this.#options.speech;
    const from = this.#known;
    this.#known = tokenIds.length;
    return { from, tokens: tokenIds.slice(from) };
  }

  #reserve(deadlineMs: number): void {
    const { speech } = this.#options;
    this.#known = speech.tokenIds.length;
    this.#ask(this.target, speech.hold(this.target, this.#generation, deadlineMs), deadlineMs, () => ({ type: 'placed' }));
  }

  #command(verb: Parameters<MoveSpeech['command']>[0], instance: Instance, fields: Fields): Message {
    return this.#options.speech.command(verb, instance, { generation: this.#generation, ...fields });
  }

  /** @param read what an answer means; null = it is not what was asked for */
  #ask(instance: Instance, { head, body }: Message, timeoutMs: number, read: (answer: Fields) => News | 'wait' | null): void {
    const { clock } = this.#options;
    const options = { clock, timeoutMs, maxBytes: MAX_ANSWER_BYTES, signal: this.#abort.signal };
    fetchBuffered(instance.requests.pool, head, body, options).then(
      (answer) => {
        const fields = fieldsOf(answer);
        const news = fields === null ? null : read(fields);
        if (news !== 'wait') this.#tell(news ?? { type: 'failed', reason: reasonOf(answer) });
      },
      (thrown: unknown) => this.#tell({ type: 'failed', reason: thrown instanceof FetchError && thrown.late ? 'silent' : 'lost' }),
    );
  }

  #release(instance: Instance, then: () => void): void {
    const { head, body } = this.#command('release', instance, {});
    const options = { clock: this.#options.clock, timeoutMs: RELEASE_MS, maxBytes: MAX_ANSWER_BYTES };
    // What cannot be given back ends by its lease.
    fetchBuffered(instance.requests.pool, head, body, options).then(then, then);
  }
}

/** Null = it was refused. */
function fieldsOf({ status, body }: BufferedAnswer): Fields | null {
  if (status !== 200) return null;
  try {
    const answer: unknown = JSON.parse(body.toString('utf8'));
    return isObject(answer) ? answer : null;
  } catch {
    return null; // said as a refusal by the caller
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function reasonOf({ status }: BufferedAnswer): AbortReason {
  return status === 429 || status === 503 ? 'full' : 'refused';
}
