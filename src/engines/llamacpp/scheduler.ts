/**
 * Continuous batching: one loop that owns the llama.cpp context. Each turn admits waiting requests, evaluates one step of all
 * decoding sequences and one piece of the oldest unfinished prompt. Nothing else touches the context, so nothing needs a lock.
 */
import { type Clock, SluiceError, toSluiceError } from '../../shared/index.ts';
import type { Burden } from '../costs/index.ts';
import type { FinishReason, PromptReport } from '../port.ts';
import type { KvCache } from './cache.ts';
import { BATCH_TOKENS, type LlamaContext } from './context.ts';
import type { CostMeter } from './costs.ts';
import { logprobs, sample } from './sampling.ts';
import type { Sequence } from './sequence.ts';

export interface SchedulerOptions {
  readonly context: LlamaContext;
  readonly cache: KvCache;
  readonly costs: CostMeter;
  readonly clock: Clock;
  readonly isEndOfGeneration: (token: number) => boolean;
  /** What to do with a finished prefill leg: keep its blocks under a lease and answer. */
  readonly finishPrefill: (sequence: Sequence, report: PromptReport) => void;
  readonly count: (
    what: 'promptTokens' | 'generationTokens' | 'prefixQueryTokens' | 'prefixHitTokens' | 'externalQueryTokens' | 'externalHitTokens',
    by: number,
  ) => void;
}

/** Longest piece of a prompt while streams are running: bounds how long a prefill holds up their next token. */
const SHARED_PREFILL_TOKENS = 256;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];
  readonly #tasks: (() => void)[] = [];
  #wake: (() => void) | null = null;
  #closed = false;
  #done: Promise<void>;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  get waiting(): readonly Sequence[] {
    return this.#waiting;
  }

  get running(): readonly Sequence[] {
    return this.#running;
  }

  burden(): Burden {
    const pending = ({ fetching, prefillTarget, computed }: Sequence) => (fetching ? 0 : Math.max(0, prefillTarget - computed));
    return {
      running: this.#running.length,
      waiting: this.#waiting.length,
      pendingPrefillTokens: [...this.#running, ...this.#waiting].reduce((sum, sequence) => sum + pending(sequence), 0),
      contextTokens: this.#running.reduce((sum, sequence) => sum + (sequence.phase === 'decode' ? sequence.length : 0), 0),
      costs: this.#options.costs.costs(),
    };
  }

  enqueue(sequence: Sequence): void {
    if (this.#closed) return this.#end(sequence, 'cancelled');
    this.#waiting.push(sequence);
    this.#wake?.();
  }

  /** Its KV was on its way until now. */
  fetched(sequence: Sequence): void {
    sequence.fetching = false;
    if (this.#closed) this.#end(sequence, 'cancelled');
    this.#wake?.();
  }

  /** Something changed for a sequence that had nothing to do. */
  wake(): void {
    this.#wake?.();
  }

  /** Runs `task` between two evaluations, when the context may be touched; a task a turn. Rejects with what it throws, or when the loop ended. */
  between<T>(task: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new SluiceError('unavailable', 'the engine is closed'));
      this.#tasks.push(() => {
        try {
          resolve(task());
        } catch (thrown) {
          reject(toSluiceError(thrown));
        }
      });
      this.#wake?.();
    });
  }

  /** Resolves when the loop has stopped; running sequences end as cancelled. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      this.#dropCancelled();
      this.#admit();
      this.#tasks.shift()?.();
      const stepped = await this.#decodeStep();
      const prefilled = await this.#prefillStep();
      if (!stepped && !prefilled) await this.#sleep();
    }
    for (const sequence of [...this.#running, ...this.#ready]) this.#end(sequence, 'cancelled');
    for (const task of this.#tasks.splice(0)) task();
  }

  /** Until something is enqueued, asked for or cancelled, or the loop is closed. */
  async #sleep(): Promise<void> {
    const cancelled = [...this.#running, ...this.#ready].some((sequence) => sequence.abort.signal.aborted);
    const busy = this.#running.some((sequence) => !sequence.parked) || (this.#running.length === 0 && this.#ready.length > 0);
    if (this.#closed || cancelled || busy || this.#tasks.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = null;
  }

  /** Those that wait and lack nothing. Memory that blocks are on their way to is not given back before they came, or were given up. */
  get #ready(): Sequence[] {
    return this.#waiting.filter(({ fetching }) => !fetching);
  }

  #dropCancelled(): void {
    for (const sequence of [...this.#ready, ...this.#running]) if (sequence.abort.signal.aborted) this.#end(sequence, 'cancelled');
  }

  #admit(): void {
    const { cache, clock } = this.#options;
    for (const sequence of this.#ready) {
      try {
        if (!cache.admit(sequence)) break;
        this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
        this.#running.push(sequence);
        sequence.startedAt = clock.now();
        sequence.phase = 'prefill';
        this.#countPrompt(sequence);
        sequence.onPlaced();
        if (sequence.computed >= sequence.prefillTarget && sequence.leg.kind === 'prefill') this.#finishPrefillLeg(sequence);
      } catch (thrown) {
        cache.discard(sequence);
        this.#fail(sequence, thrown);
      }
    }
    // A place for a stream that is well where it is must be there now.
    for (const sequence of this.#waiting.filter((one) => one.held)) {
      this.#fail(
        sequence,
        new SluiceError('queue_full', 'this instance has no place for a request of another one', { retryAfterSeconds: 1 }),
      );
    }
  }

  #countPrompt(sequence: Sequence): void {
    const { count } = this.#options;
    count('promptTokens', sequence.request.prompt.length);
    count('prefixQueryTokens', sequence.givenTokens);
    count('prefixHitTokens', sequence.reused.hbm + sequence.reused.host);
    if (sequence.request.ticket) count('externalQueryTokens', sequence.givenTokens - sequence.reused.hbm - sequence.reused.host);
    count('externalHitTokens', sequence.reused.peer + sequence.reused.store);
  }

  async #decodeStep(): Promise<boolean> {
    const { context, costs, clock } = this.#options;
    const decoding = this.#running.filter((sequence) => sequence.phase === 'decode').slice(0, BATCH_TOKENS / 2);
    if (decoding.length === 0) return false;
    const feeds = decoding.map((sequence) => ({
      sequence: sequence.slot?.id as number,
      position: sequence.computed,
      tokens: sequence.tokens.subarray(sequence.computed, sequence.computed + 1),
      wantLogits: true,
    }));
    const started = clock.now();
    await this.#guard(decoding, async () => {
      const logits = await context.evaluate(feeds);
      costs.stepped(
        decoding.length,
        feeds.reduce((sum, feed) => sum + feed.position + 1, 0),
        clock.now() - started,
      );
      for (const [i, sequence] of decoding.entries()) this.#advance(sequence, sequence.computed + 1, logits[i] as Float32Array);
    });
    return true;
  }

  async #prefillStep(): Promise<boolean> {
    const { context, costs, clock } = this.#options;
    const sequence = this.#running.find(({ phase, parked, abort }) => phase === 'prefill' && !parked && !abort.signal.aborted);
    if (!sequence) return false;
    const shared = this.#running.some((other) => other.phase === 'decode');
    const from = sequence.computed;
    const to = Math.min(sequence.prefillTarget, from + (shared ? SHARED_PREFILL_TOKENS : BATCH_TOKENS));
    const last = to === sequence.prefillTarget;
    const started = clock.now();
    await this.#guard([sequence], async () => {
      const wantLogits = last && sequence.leg.kind === 'generate' && !sequence.held;
      const [logits] = await context.evaluate([
        { sequence: sequence.slot?.id as number, position: from, tokens: sequence.tokens.subarray(from, to), wantLogits },
      ]);
      costs.prefilled(to - from, from, clock.now() - started);
      if (sequence.leg.kind === 'generate' && wantLogits) {
        sequence.leg.sink.start(this.#report(sequence));
        sequence.phase = 'decode';
        this.#advance(sequence, to, logits as Float32Array);
      } else {
        this.#advance(sequence, to, null);
        if (last && sequence.leg.kind === 'prefill') this.#finishPrefillLeg(sequence);
        else if (sequence.parked) sequence.onCaughtUp();
      }
    });
    return true;
  }

  /** Runs an evaluation; when it fails, what the slots hold is unknown, so they are emptied and their requests end in the error. */
  async #guard(sequences: readonly Sequence[], evaluate: () => Promise<void>): Promise<void> {
    try {
      await evaluate();
    } catch (thrown) {
      for (const sequence of sequences) {
        if (sequence.phase === 'ended') continue;
        this.#options.cache.discard(sequence);
        this.#fail(sequence, thrown);
      }
    }
  }

  #advance(sequence: Sequence, computed: number, logits: Float32Array | null): void {
    sequence.computed = computed;
    this.#options.cache.advance(sequence);
    if (!logits || sequence.leg.kind !== 'generate') return;
    if (sequence.abort.signal.aborted) return; // dropped at the next turn
    const { sampling, prompt } = sequence.request;
    if (sequence.isFull) return this.#end(sequence, 'length'); // nothing may be generated: max_tokens is used up by resumed tokens
    const token = sample(logits, sampling, sequence.length);
    if (!sampling.ignoreEos && this.#options.isEndOfGeneration(token)) return this.#end(sequence, 'stop');
    sequence.push(token);
    this.#options.count('generationTokens', 1);
    sequence.leg.sink.token(token, sampling.logprobs === null ? null : logprobs(logits, token, sampling.logprobs));
    if (sequence.isFull || sequence.length - prompt.length >= sampling.maxTokens) this.#end(sequence, 'length');
    else if (sequence.stopAsked && !sequence.abort.signal.aborted) this.#pause(sequence);
  }

  /** It keeps its slot until it is cancelled. */
  #pause(sequence: Sequence): void {
    sequence.phase = 'paused';
    if (sequence.leg.kind === 'generate') sequence.leg.sink.end('moved');
  }

  #finishPrefillLeg(sequence: Sequence): void {
    this.#options.finishPrefill(sequence, this.#report(sequence));
    this.#remove(sequence);
  }

  #report(sequence: Sequence): PromptReport {
    const { reused, pullResult, onboardResult, givenTokens } = sequence;
    const reusedTokens = reused.hbm + reused.host + reused.peer + reused.store;
    return {
      promptTokens: givenTokens,
      reused: { ...reused },
      computed: givenTokens - reusedTokens,
      queueMs: sequence.startedAt - sequence.queuedAt,
      prefillMs: this.#options.clock.now() - sequence.startedAt,
      handOff: pullResult && { ...pullResult, ms: pullResult.ms + sequence.loadMs, moveMs: pullResult.ms },
      onboard: onboardResult,
    };
  }

  #end(sequence: Sequence, reason: FinishReason): void {
    if (sequence.phase === 'ended') return;
    const told = sequence.phase === 'paused';
    this.#remove(sequence);
    if (told) return;
    if (sequence.leg.kind === 'generate') sequence.leg.sink.end(reason);
    else sequence.leg.sink.error(new SluiceError('client_closed', 'the request was cancelled'));
  }

  #fail(sequence: Sequence, thrown: unknown): void {
    this.#remove(sequence);
    sequence.leg.sink.error(toSluiceError(thrown));
  }

  #remove(sequence: Sequence): void {
    sequence.phase = 'ended';
    sequence.dropPulled();
    this.#options.cache.release(sequence);
    for (const list of [this.#running, this.#waiting]) {
      const at = list.indexOf(sequence);
      if (at >= 0) list.splice(at, 1);
    }
  }
}
