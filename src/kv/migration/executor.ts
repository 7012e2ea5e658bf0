/** Drives one move: tells the machine what happened, has done what it says, and gives every step a time. */
import type { Cancel, Clock } from '../../shared/index.ts';
import {
  isOver,
  type Migration,
  type MigrationCommand,
  type MigrationMessage,
  type MigrationRequest,
  requestMigration,
  type Transition,
  transition,
} from './machine.ts';

export interface MigrationOptions {
  readonly request: MigrationRequest;
  readonly clock: Clock;
  /** Milliseconds that a step may take, by what is waited for. */
  readonly limits: MigrationLimits;
  /** Begins to do something; what comes of it comes by `tell`. Must not throw. */
  readonly perform: (command: MigrationCommand, migration: Migration) => void;
  /** Called for everything that changes, before its commands are done. */
  readonly onTransition: (transition: Transition) => void;
}

export interface MigrationLimits {
  /** A place at the target, and the end of the source's lease. */
  readonly replyMs: number;
  /** Copying the blocks out at the source; pulling them, and computing what did not come, at the target. */
  readonly copyMs: number;
  /** The source's last token, and the target's first one. */
  readonly switchMs: number;
}

export class MigrationExecutor {
  readonly #options: MigrationOptions;
  #migration: Migration;
  #cancelTimer: Cancel = () => undefined;

  constructor(options: MigrationOptions) {
    this.#options = options;
    const first = requestMigration(options.request);
    this.#migration = first.next;
    this.#take(first);
  }

  get migration(): Migration {
    return this.#migration;
  }

  tell(message: MigrationMessage): void {
    this.#take(transition(this.#migration, message));
  }

  #take(taken: Transition): void {
    if (!taken.changed) return;
    this.#migration = taken.next;
    this.#cancelTimer();
    this.#options.onTransition(taken);
    if (!isOver(taken.next)) this.#cancelTimer = this.#options.clock.after(this.#limitMs(taken.next), () => this.#late(taken.next));
    for (const command of taken.commands) this.#options.perform(command, taken.next);
  }

  #late({ id }: Migration): void {
    this.tell({ migration: id, type: 'failed', reason: 'silent' });
  }

  #limitMs({ state, step }: Migration): number {
    const { replyMs, copyMs, switchMs } = this.#options.limits;
    if (state === 'reserved') return copyMs;
    if (state !== 'copying') return replyMs;
    return step === 'blocks' || step === 'difference' ? copyMs : switchMs;
  }
}
