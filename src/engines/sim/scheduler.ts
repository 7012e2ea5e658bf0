/**
 * Continuous batching of a simulated engine: one timer per step, whatever the number of sequences.
 *
 * Invariants
 * - Waiting sequences are admitted in the order in which they came, as sequences and HBM allow; a preempted one goes to the front. One whose
 *   blocks are on their way is passed, and keeps its place.
 * - HBM holds at least one whole context (checked by the engine), so a sequence alone can always go on.
 * - With costs of zero there is no timer: steps run at once, up to `STEPS_AT_ONCE`, then the event loop gets its turn.
 */
import type { Cancel, Clock } from '../../shared/index.ts';
import type { EngineCosts } from '../port.ts';
import type { SimKv } from './kv.ts';
import type { Sequence } from './sequence.ts';
import { planStep, type Step } from './step.ts';
import { END_TOKEN } from './tokenizer.ts';

const STEPS_AT_ONCE = 256;
/** A process that was held up catches up with its declared times by at most this much. */
const CATCH_UP_MS = 50;

export interface SchedulerOptions {
  readonly kv: SimKv;
  readonly clock: Clock;
  readonly costs: EngineCosts;
  readonly chunkTokens: number;
  readonly maxSequences: number;
  /** Places that are kept for requests of other instances. */
  readonly kept: () => number;
  /** Called when a sequence is over, whatever the reason. */
  readonly onOver: (sequence: Sequence) => void;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #fresh = new Set<Sequence>();
  waiting: Sequence[] = [];
  running: Sequence[] = [];
  promptTokens = 0;
  generationTokens = 0;
  prefixQueryTokens = 0;
  prefixHitTokens = 0;
  preemptions = 0;
  /** When the last step was due to end. */
  #dueAt = Number.NEGATIVE_INFINITY;
  #idle = true;
  #cancelTimer: Cancel | null = null;
  #inLoop = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  submit(sequence: Sequence): void {
    this.waiting.push(sequence);
    this.#kick();
  }

  /** Takes a sequence out, wherever it is, and frees what it holds. */
  remove(sequence: Sequence): void {
    if (sequence.over) return;
    sequence.over = true;
    sequence.leave(this.#options.kv);
    sequence.onboarded?.release();
    this.#fresh.delete(sequence);
    this.waiting = this.waiting.filter((other) => other !== sequence);
    this.running = this.running.filter((other) => other !== sequence);
    this.#options.onOver(sequence);
    this.#kick();
  }

  /** HBM became free, or blocks came. */
  wake(): void {
    this.#kick();
  }

  stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  #kick(): void {
    if (!this.#inLoop && this.#cancelTimer === null) this.#loop();
  }

  #loop(): void {
    const { clock } = this.#options;
    this.#inLoop = true;
    try {
      for (let count = 0; count < STEPS_AT_ONCE; count += 1) {
        const step = this.#prepare();
        if (step === null) return;
        if (step.ms > 0) {
          const now = clock.now();
          this.#dueAt = Math.max(this.#dueAt, now - CATCH_UP_MS);
          // An idle engine starts now; a busy one starts when the last step was due, so that late timers do not add up.
          if (this.#idle) this.#dueAt = now;
          this.#dueAt += step.ms;
          this.#idle = false;
          this.#wait(Math.max(0, this.#dueAt - now), () => this.#apply(step));
          return;
        }
        this.#apply(step);
      }
      this.#wait(0, () => {});
    } finally {
      this.#inLoop = false;
    }
  }

  #wait(ms: number, then: () => void): void {
    this.#cancelTimer = this.#options.clock.after(ms, () => {
      this.#cancelTimer = null;
      this.#inLoop = true;
      try {
        then();
      } finally {
        this.#inLoop = false;
      }
      this.#loop();
    });
  }

  #prepare(): Step<Sequence> | null {
    this.#admit();
    this.#growDecodes();
    const step = planStep(this.running, this.#fresh, this.#options);
    if (step === null) this.#idle = true;
    return step;
  }

  #admit(): void {
    const { kv, clock, maxSequences, kept } = this.#options;
    const admitted = new Set<Sequence>();
    for (const sequence of this.waiting) {
      if (sequence.fetching) continue;
      if (this.running.length + kept() >= maxSequences || !sequence.admit(kv)) break;
      admitted.add(sequence);
      if (!sequence.started && sequence.admittedAt === 0) {
        sequence.admittedAt = clock.now();
        this.prefixQueryTokens += sequence.request.prompt.length;
        const { reused } = sequence.report(sequence.admittedAt);
        this.prefixHitTokens += reused.hbm + reused.host;
      }
      this.#fresh.add(sequence);
      this.running.push(sequence);
    }
    if (admitted.size > 0) this.waiting = this.waiting.filter((sequence) => !admitted.has(sequence));
  }

  /** Every decode needs room for one more token; when HBM is short the youngest sequences wait again. */
  #growDecodes(): void {
    const { kv } = this.#options;
    for (const sequence of this.running) {
      if (!sequence.decoding || sequence.computed < sequence.room) continue;
      while (this.running.includes(sequence) && !kv.reserve(1)) this.#preempt();
      if (this.running.includes(sequence)) sequence.unfinished += 1;
    }
  }

  #preempt(): void {
    const youngest = this.running.pop();
    if (!youngest) return;
    this.preemptions += 1;
    youngest.leave(this.#options.kv);
    this.#fresh.delete(youngest);
    this.waiting = [youngest, ...this.waiting];
  }

  #apply(step: Step<Sequence>): void {
    const { kv } = this.#options;
    for (const { sequence, tokens } of step.prefills) {
      if (sequence.over) continue;
      this.#fresh.delete(sequence);
      this.promptTokens += tokens;
      sequence.advance(kv, sequence.computed + tokens);
      if (sequence.decoding) this.#prefilled(sequence);
    }
    for (const sequence of step.decodes) {
      if (sequence.over) continue;
      sequence.advance(kv, sequence.computed + 1);
      this.#speak(sequence);
    }
  }

  #prefilled(sequence: Sequence): void {
    if (sequence.events.prefilled(sequence)) {
      this.remove(sequence);
      return;
    }
    if (!sequence.started) {
      sequence.started = true;
      sequence.events.start(sequence.report(this.#options.clock.now()));
    }
    if (!sequence.over) this.#speak(sequence);
  }

  /** It keeps its HBM until it is removed. */
  #pause(sequence: Sequence): void {
    sequence.paused = true;
    this.running = this.running.filter((other) => other !== sequence);
    sequence.events.end('moved');
  }

  #speak(sequence: Sequence): void {
    const { request, speech, events } = sequence;
    const scores = speech.scores();
    const token = speech.next();
    sequence.say(token);
    this.generationTokens += 1;
    events.token(token, scores);
    if (sequence.over) return;
    const ended = token === END_TOKEN && !request.sampling.ignoreEos;
    if (!ended && sequence.generated < request.sampling.maxTokens) {
      if (sequence.stopAsked) this.#pause(sequence);
      return;
    }
    events.ending(sequence);
    this.remove(sequence);
    events.end(ended ? 'stop' : 'length');
  }
}
