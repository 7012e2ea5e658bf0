/**
 * The moves of one flight, one at a time: which instance it goes to, what is held of it meanwhile, and what the record says. After a move
 * that was given up the next one waits longer.
 */
import type { Instance } from '../../instances/instance.ts';
import type { MoveRecord } from '../../record/index.ts';
import type { Booking } from '../booking.ts';
import { type Choice, isWell } from '../choose.ts';
import type { DispatchContext } from '../context.ts';
import type { Message, Speech } from '../dialects/index.ts';
import type { Ledger } from '../ledger.ts';
import { Move, type MovedFlight } from './move.ts';

export interface RelocationOptions {
  readonly context: DispatchContext;
  readonly booking: Booking;
  readonly ledger: Ledger;
  readonly stream: MovedStream;
}

/** The flight, as its relocation needs it. */
export interface MovedStream {
  /** Opens the target's leg in place of the source's. */
  switchTo(choice: Choice, message: Message): void;
  /** The present attempt is lost, and nobody failed. */
  lose(why: string): void;
  /** Null: it can be taken up after a failure. */
  whyNotResumed(): string | null;
}

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4_000;
const MAX_MOVES = 64;

export class Relocation implements MovedFlight {
  readonly #options: RelocationOptions;
  #move: Move | null = null;
  #source: Instance | null = null;
  /** The target's leg is open: its first token makes it the owner. */
  #switching = false;
  #notBefore = 0;
  #waitMs = FIRST_WAIT_MS;

  constructor(options: RelocationOptions) {
    this.#options = options;
  }

  get source(): Instance | null {
    return this.#source;
  }

  /** False when it moves already, or cannot now. */
  begin(source: Instance, why: string): boolean {
    const { booking, ledger, context, stream } = this.#options;
    const { speech } = booking;
    const { moves } = ledger.record;
    if (this.#move || speech === null || context.clock.now() < this.#notBefore || moves.length >= MAX_MOVES) return false;
    const way = speech.moving === null ? 'recompute' : 'blocks';
    if (way === 'recompute' && (!source.emptied || stream.whyNotResumed() !== null)) return false;
    if (speech.whyNotResumed() !== null) return false;
    const choice = booking.target(source);
    if (choice === null || !isWell(choice.decode, context.clock.now())) return this.#later();
    const record: MoveRecord = {
      id: context.moves.newId(),
      atMs: ledger.elapsedMs,
      from: source.id,
      to: choice.decode.id,
      why,
      way,
      state: 'requested',
      reason: null,
      tokens: speech.events.tokens,
      blocks: 0,
      bytes: 0,
      tookMs: 0,
      pauseMs: null,
      interTokenMs: ledger.interTokenMs(speech.events.tokens),
    };
    moves.push(record);
    if (speech.moving === null) this.#recompute(source, record);
    else this.#start(source, choice, { record, speech });
    return true;
  }

  /** The source's stream ended because it goes on elsewhere. False: nobody asked for that. */
  stopped(): boolean {
    this.#move?.stopped();
    return this.#switching;
  }

  /** The leg's first token. True when it is that of a move, which the client's first was before. */
  spoke(now: number): boolean {
    if (!this.#switching || !this.#move || !this.#source) return false;
    this.#switching = false;
    this.#options.booking.holdings.letGo(this.#source);
    this.#source.breaker.succeeded();
    this.#move.spoke(now - this.#options.ledger.lastEventAt);
    return true;
  }

  interrupted(): void {
    this.#move?.interrupted();
  }

  ended(): void {
    this.#move?.ended();
  }

  switchTo(choice: Choice, message: Message): void {
    this.#switching = true;
    this.#options.stream.switchTo(choice, message);
  }

  stranded(why: string): void {
    this.#options.stream.lose(why);
  }

  moveOver(move: Move): void {
    if (move !== this.#move) return;
    this.#move = null;
    this.#source = null;
    this.#switching = false;
    if (move.record.state !== 'aborted') {
      this.#waitMs = FIRST_WAIT_MS;
      return;
    }
    this.#options.booking.holdings.letGo(move.target);
    this.#later();
  }

  #later(): false {
    this.#notBefore = this.#options.context.clock.now() + this.#waitMs;
    this.#waitMs = Math.min(LONGEST_WAIT_MS, this.#waitMs * 2);
    return false;
  }

  #start(source: Instance, choice: Choice, { record, speech }: { record: MoveRecord; speech: Speech }): void {
    const { booking, context } = this.#options;
    if (speech.moving === null) return;
    booking.holdTarget(choice, speech);
    this.#source = source;
    const { pullMs, firstTokenMs } = context.deadlines;
    const { clock, moves } = context;
    this.#move = new Move({ flight: this, speech: speech.moving, source, choice, record, clock, pullMs, firstTokenMs, context: moves });
    this.#move.start();
  }

  /** The engine's blocks cannot be had: the next instance computes them, as after a failure. The source is the last resort. */
  #recompute(source: Instance, record: MoveRecord): void {
    record.state = 'released';
    this.#options.context.moves.onOver(record);
    this.#options.stream.lose(`${source.id} is drained: the stream goes on elsewhere`);
  }
}
