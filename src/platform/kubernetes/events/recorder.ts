/**
 * Tells people what happened to an object. The first time makes an event; the same again only counts up, and the count is written now
 * and then. Never in the way of the work: what cannot be written, or is too much, is dropped and counted.
 */
import { type Clock, systemClock } from '../../../shared/index.ts';
import type { CallOptions } from '../call.ts';
import type { KubernetesClient } from '../client.ts';
import { microTime } from '../lease/lease.ts';
import type { Pace } from '../queue/pace.ts';
import { type RunOutcome, WorkQueue } from '../queue/queue.ts';
import { checkHappening, EVENTS, eventDraft, eventName, eventNamespace, type Happening, type Reporter, seriesKey } from './event.ts';

export interface RecorderOptions {
  readonly client: KubernetesClient;
  readonly reporter: Reporter;
  /** Writes of all events together. Default 5 a second, 25 at once. */
  readonly pace?: Pace;
  /** Between two writes of one count. Default 30 s. */
  readonly countEveryMs?: number;
  /** A happening that did not repeat for that long begins a new event. Default 10 min. */
  readonly forgetAfterMs?: number;
  /** Happenings that are remembered at the same time. Default 1,000. */
  readonly maxSeries?: number;
  readonly clock?: Clock;
  readonly onDropped?: (happening: Happening, why: string) => void;
}

interface Series {
  readonly happening: Happening;
  readonly name: string;
  readonly firstTime: string;
  count: number;
  /** What the API server knows; 0 = there is no event yet. */
  written: number;
  lastMs: number;
  lastTime: string;
  failures: number;
}

const PACE: Pace = { perSecond: 5, burst: 25 };
const COUNT_EVERY_MS = 30_000;
const FORGET_AFTER_MS = 600_000;
const MAX_SERIES = 1_000;
/** Of one series; an event is not worth more. */
const MAX_FAILURES = 5;
const CALL: CallOptions = { attempts: 1, timeoutMs: 5_000 };

export class EventRecorder {
  readonly #options: RecorderOptions;
  readonly #clock: Clock;
  readonly #queue: WorkQueue;
  /** Oldest first. */
  readonly #series = new Map<string, Series>();
  #dropped = 0;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#queue = new WorkQueue({
      run: (key, signal) => this.#write(key, signal),
      onFailure: (key, error) => this.#failed(key, error),
      workers: 1,
      pace: options.pace ?? PACE,
      clock: this.#clock,
    });
  }

  /** How many happenings were not told. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Returns at once. Throws a RangeError for a reason or an action that is no CamelCase word. */
  record(happening: Happening): void {
    checkHappening(happening);
    this.#forgetOld();
    const key = seriesKey(happening);
    const nowMs = this.#clock.now();
    const wallMs = this.#clock.wall();
    const time = microTime(wallMs);
    const known = this.#series.get(key);
    if (known) {
      known.count += 1;
      known.lastMs = nowMs;
      known.lastTime = time;
      if (known.written > 0) this.#queue.addAfter(key, this.#options.countEveryMs ?? COUNT_EVERY_MS);
      return;
    }
    if (this.#series.size >= (this.#options.maxSeries ?? MAX_SERIES))
      return this.#drop(happening, 'too many different events at the same time');
    const name = eventName(happening, wallMs);
    this.#series.set(key, { happening, name, firstTime: time, count: 1, written: 0, lastMs: nowMs, lastTime: time, failures: 0 });
    if (!this.#queue.add(key)) this.#drop(happening, 'the recorder has stopped');
  }

  /** Waits for the write that runs; counts that were not written yet are lost. */
  stop(): Promise<void> {
    return this.#queue.stop(CALL.timeoutMs ?? 0);
  }

  async #write(key: string, signal: AbortSignal): Promise<RunOutcome> {
    const series = this.#series.get(key);
    if (series === undefined || series.written === series.count) return { kind: 'done' };
    const { client, reporter } = this.#options;
    const { happening, name, count, lastTime } = series;
    if (series.written === 0) {
      const draft = eventDraft(happening, reporter, { name, time: series.firstTime });
      const made = await client.create(EVENTS, draft, { ...CALL, signal });
      if (made.kind === 'rejected') this.#forget(key, made.message);
      series.written = 1;
    } else {
      const patch = { series: { count, lastObservedTime: lastTime } };
      const merged = await client.merge(EVENTS, { name, namespace: eventNamespace(happening) }, patch, { ...CALL, signal });
      // The API server keeps events for an hour; one that goes on begins anew.
      if (merged.kind === 'absent') this.#series.delete(key);
      if (merged.kind === 'rejected') this.#forget(key, merged.message);
      series.written = count;
    }
    series.failures = 0;
    return series.written < series.count ? { kind: 'again', afterMs: this.#options.countEveryMs ?? COUNT_EVERY_MS } : { kind: 'done' };
  }

  #failed(key: string, error: unknown): void {
    const series = this.#series.get(key);
    if (series === undefined) return;
    series.failures += 1;
    if (series.failures >= MAX_FAILURES) this.#forget(key, error instanceof Error ? error.message : String(error));
  }

  #forget(key: string, why: string): void {
    const series = this.#series.get(key);
    this.#series.delete(key);
    if (series) this.#drop(series.happening, why);
  }

  #forgetOld(): void {
    const before = this.#clock.now() - (this.#options.forgetAfterMs ?? FORGET_AFTER_MS);
    for (const [key, series] of this.#series) if (series.lastMs < before && series.written === series.count) this.#series.delete(key);
  }

  #drop(happening: Happening, why: string): void {
    this.#dropped += 1;
    this.#options.onDropped?.(happening, why);
  }
}
