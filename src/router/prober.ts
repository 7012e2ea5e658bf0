/**
 * Readiness from what clients would get: a small synthetic request goes the whole way, prefill instance to decode instance, through
 * the same dispatch as theirs. The router is ready while that worked lately.
 */
import type { Cancel, Clock } from '../shared/index.ts';
import type { Client } from './dispatch/client.ts';
import type { DispatchContext } from './dispatch/context.ts';
import { Flight } from './dispatch/flight.ts';
import { type ParsedRequest, PLAIN } from './edge/index.ts';

export interface ProberOptions {
  readonly context: DispatchContext;
  readonly clock: Clock;
  readonly model: () => string;
  readonly newId: () => string;
  /** It was not ready, and is now. */
  readonly onReady: () => void;
  /** How many usable instances there are that no request went through yet. */
  readonly unproven: () => number;
}

const WHILE_NOT_READY_MS = 100;
const WHILE_READY_MS = 5_000;
/** How often it looks for instances that nothing went through yet: a deployment that comes up waits for it. */
const LOOK_MS = { ready: 100, notReady: 20 };
/** How long it leaves one alone that could not be proven. */
const UNPROVEN_MS = 1_000;
const FRESH_MS = 15_000;
/** Long enough for a few blocks to be handed over. */
const TEXT = 'The sluice opens, the water runs from the upper to the lower pool, and the gate closes behind it. ';
const SALT = 'sluice-readiness-probe';

export class Prober {
  readonly #options: ProberOptions;
  #succeededAt: number | null = null;
  #failures = 0;
  #lastError = 'no probe has ended yet';
  #cancel: Cancel | null = null;
  #closed = false;
  #underWay = false;
  readonly #idle = Promise.withResolvers<void>();
  #count = 0;
  #dueAt = 0;
  #againAt = 0;
  #unprovenBefore = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#probe();
  }

  get ready(): boolean {
    return this.#succeededAt !== null && this.#failures < 2 && this.#options.clock.now() - this.#succeededAt < FRESH_MS;
  }

  /** Why it is not ready. */
  get reason(): string {
    return this.#lastError;
  }

  /** No more probes. Resolves when the one that is under way has ended: cut off between its legs, it would leave a lease behind. */
  close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    if (!this.#underWay) this.#idle.resolve();
    return this.#idle.promise;
  }

  #probe(): void {
    const { context, model, newId, unproven } = this.#options;
    this.#underWay = true;
    this.#unprovenBefore = unproven();
    // A different prompt each time: a cached one would not show that prefill works.
    const text = `${this.#count++} ${TEXT}`;
    const body = Buffer.from(JSON.stringify({ model: model(), prompt: text, max_tokens: 1, temperature: 0 }));
    const prompt = { kind: 'text', text } as const;
    const whole = { kind: 'completion', stream: false, includeUsage: false } as const;
    const request: ParsedRequest = { ...whole, body, maxTokens: 1, hasSeed: true, wantsSeed: false, traits: PLAIN, prompt };
    const flight = new Flight(context, request, new Ear((error) => this.#ended(error)), {
      id: newId(),
      model: model(),
      tenant: SALT,
      salt: SALT,
      trace: null,
      probe: true,
    });
    try {
      flight.start();
    } catch (thrown) {
      // A fault of ours must show as not ready, and not end the router.
      this.#ended(thrown instanceof Error ? thrown.message : String(thrown));
    }
  }

  #ended(error: string | null): void {
    const { clock, onReady } = this.#options;
    if (error === null) {
      const wasReady = this.ready;
      this.#succeededAt = clock.now();
      this.#failures = 0;
      if (!wasReady) onReady();
    } else {
      this.#failures += 1;
      this.#lastError = error;
    }
    this.#underWay = false;
    if (this.#closed) return this.#idle.resolve();
    this.#dueAt = clock.now() + (this.ready ? WHILE_READY_MS : WHILE_NOT_READY_MS);
    this.#againAt = clock.now() + UNPROVEN_MS;
    this.#look();
  }

  #look(): void {
    const { clock, unproven } = this.#options;
    this.#cancel = clock.after(this.ready ? LOOK_MS.ready : LOOK_MS.notReady, () => {
      const now = clock.now();
      const count = unproven();
      // Another one came, or the last probe proved one: at once. It proved none: later.
      const unprovenDue = count > 0 && (count !== this.#unprovenBefore || now >= this.#againAt);
      if (now >= this.#dueAt || unprovenDue) this.#probe();
      else this.#look();
    });
  }
}

/** A client that only listens for how it ended. */
class Ear implements Client {
  readonly started = false;
  readonly #ended: (error: string | null) => void;

  constructor(ended: (error: string | null) => void) {
    this.#ended = ended;
  }

  begin(): void {}
  write(): boolean {
    return true;
  }
  end(): void {}
  onDrain(): void {}
  onClose(): void {}

  answer(status: number): void {
    this.#ended(status === 200 ? null : `the probe was answered ${status}`);
  }

  fail(error: { readonly message: string }): void {
    this.#ended(error.message);
  }
}
