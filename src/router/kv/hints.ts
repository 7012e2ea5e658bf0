/**
 * Asks the shared directory who holds a prompt, for requests that come while an instance has not told this router yet what it holds. A
 * look-up ends within the directory's own budget; one that fails gives no hints, and after a few of them a breaker keeps requests from asking.
 */
import type { SharedDirectory } from '../../kv/index.ts';
import type { Cancel, Clock } from '../../shared/index.ts';
import { Breaker } from '../instances/breaker.ts';

/** Leading blocks of the prompt by instance. */
export type Hints = ReadonlyMap<string, number>;

export type HintOutcome = 'found' | 'nothing' | 'failed' | 'skipped';

export const NO_HINTS: Hints = new Map();
const PING_MS = 1_000;
/** Of a prompt: more than a script takes at once would make others wait. */
const MAX_KEYS = 4_096;
const NOBODYS_KEY = '0'.repeat(32);

export class DirectoryHints {
  readonly outcomes: Record<HintOutcome, number> = { found: 0, nothing: 0, failed: 0, skipped: 0 };
  readonly #directory: SharedDirectory;
  readonly #clock: Clock;
  readonly #breaker = new Breaker();
  #fault = 'not asked yet';
  #answered = false;
  #cancel: Cancel | null = null;
  #closed = false;

  constructor(directory: SharedDirectory, clock: Clock) {
    this.#directory = directory;
    this.#clock = clock;
    void this.#ping();
  }

  /** Null = it answers; else why requests do without it. */
  get away(): string | null {
    return this.#answered && this.#breaker.state(this.#clock.now()) === 'closed' ? null : this.#fault;
  }

  /** Never rejects. @param keys 32 hex digits each, in chain order */
  async ask(keys: readonly string[]): Promise<Hints> {
    if (keys.length === 0) return NO_HINTS;
    if (!this.#breaker.allows(this.#clock.now())) {
      this.outcomes.skipped += 1;
      return NO_HINTS;
    }
    const hints = await this.#lookup(keys.slice(0, MAX_KEYS));
    this.outcomes[hints === null ? 'failed' : hints.size > 0 ? 'found' : 'nothing'] += 1;
    return hints ?? NO_HINTS;
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  /** Null when it failed. */
  async #lookup(keys: readonly string[]): Promise<Hints | null> {
    const clock = this.#clock;
    this.#breaker.entered(clock.now());
    try {
      const matches = await this.#directory.lookup(keys);
      this.#breaker.succeeded();
      this.#answered = true;
      return new Map(matches.map(({ instance, held }) => [instance, held]));
    } catch (error) {
      this.#breaker.failed(clock.now());
      this.#fault = error instanceof Error ? error.message : String(error);
      return null;
    }
  }

  /** So that it is known whether it answers while no request asks. */
  async #ping(): Promise<void> {
    if (this.#breaker.allows(this.#clock.now())) await this.#lookup([NOBODYS_KEY]);
    if (this.#closed) return;
    this.#cancel = this.#clock.after(PING_MS, () => void this.#ping());
  }
}
