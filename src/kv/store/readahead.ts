/**
 * Who reads from the store next. Prompts read while they wait in their engine's line, in the order in which they came and a few at a time: the first has its
 * blocks soon, where with all at once all have theirs late.
 *
 * Invariants
 * - At most `readers` read at one time.
 * - What is read and not used yet is at most `budgetBytes`, or one prompt's.
 * - One that leaves makes room at once, whether it waits, reads or holds what it read.
 */
import type { Cancel, Clock } from '../../shared/index.ts';

export interface ReadAheadOptions {
  readonly clock: Clock;
  readonly readers: number;
  readonly budgetBytes: number;
}

export interface Turn {
  /** Reading is over, and so many bytes came. */
  done(bytes: number): void;
  /** What came is used, or not wanted any more. Idempotent. */
  leave(): void;
}

interface Waiting {
  readonly bytes: number;
  readonly go: (turn: Turn) => void;
}

export class ReadAhead {
  readonly #options: ReadAheadOptions;
  #waiting: Waiting[] = [];
  #reading = 0;
  #heldBytes = 0;
  readonly #ahead: number[] = [];

  constructor(options: ReadAheadOptions) {
    this.#options = options;
  }

  /** Bytes of each prompt that reads before one that comes now. */
  get ahead(): readonly number[] {
    return this.#ahead;
  }

  /** Bytes that are being read, or were and are not used yet. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Null when the signal fell, or it was nobody's turn within `withinMs`. */
  enter(bytes: number, withinMs: number, signal: AbortSignal): Promise<Turn | null> {
    if (signal.aborted) return Promise.resolve(null);
    const { promise, resolve } = Promise.withResolvers<Turn | null>();
    let cancel: Cancel = () => undefined;
    const settle = (turn: Turn | null) => {
      cancel();
      signal.removeEventListener('abort', giveUp);
      resolve(turn);
    };
    const waiting: Waiting = { bytes, go: settle };
    const giveUp = () => {
      this.#waiting = this.#waiting.filter((other) => other !== waiting);
      this.#leaves(bytes);
      settle(null);
      this.#next();
    };
    this.#waiting.push(waiting);
    this.#ahead.push(bytes);
    cancel = this.#options.clock.after(withinMs, giveUp);
    signal.addEventListener('abort', giveUp, { once: true });
    this.#next();
    return promise;
  }

  #next(): void {
    const { readers, budgetBytes } = this.#options;
    for (let [first] = this.#waiting; first && this.#reading < readers; [first] = this.#waiting) {
      if (this.#heldBytes > 0 && this.#heldBytes + first.bytes > budgetBytes) return;
      this.#waiting.shift();
      this.#reading += 1;
      this.#heldBytes += first.bytes;
      first.go(this.#turn(first.bytes));
    }
  }

  #leaves(bytes: number): void {
    this.#ahead.splice(this.#ahead.indexOf(bytes), 1);
  }

  #turn(wanted: number): Turn {
    let held = wanted;
    let isReading = true;
    const done = (bytes: number) => {
      if (!isReading) return;
      isReading = false;
      this.#reading -= 1;
      this.#leaves(wanted);
      this.#heldBytes += bytes - held;
      held = bytes;
      this.#next();
    };
    return {
      done,
      leave: () => {
        done(0);
        this.#heldBytes -= held;
        held = 0;
        this.#next();
      },
    };
  }
}
