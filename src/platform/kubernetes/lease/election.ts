/**
 * One leader among contenders, by a Lease. A leader counts its time from before it sent the last renewal that was confirmed; a contender
 * from after it first saw a record. The leader gives up after `renewWithinMs`, a contender takes over after the longer `durationMs`: so
 * the old one has ended before the new one begins, whatever their wall clocks say. That holds for clocks that run at about the same speed
 * and a process that asks `holds()` before it writes: one that was frozen learns there that its time is over. Who deletes the Lease or
 * writes another holder into it by hand deposes the leader, which learns of it only at its next renewal.
 */
import { type Clock, sleep, systemClock } from '../../../shared/index.ts';
import type { KubernetesClient } from '../client.ts';
import { type Lease, LeaseRecord, microTime } from './lease.ts';
import { judge, type LeaseSpec, type Sighting, sight } from './verdict.ts';

export interface ElectionTiming {
  /** A silent leader is deposed after that. Told to others in whole seconds, rounded up. */
  readonly durationMs: number;
  /** A leader that cannot renew for that long stops. Must be shorter than `durationMs` by what stopping takes. */
  readonly renewWithinMs: number;
  /** Between two tries to renew or to acquire. */
  readonly retryMs: number;
}

export const DEFAULT_TIMING: ElectionTiming = { durationMs: 15_000, renewWithinMs: 10_000, retryMs: 2_000 };

/** One time of being the leader. */
export interface Term {
  /** Counts the leaders of this lease; higher is newer. */
  readonly number: number;
  /** Falls when the lease is lost or the election stops: end all work. */
  readonly signal: AbortSignal;
  /** Whether nobody else can lead yet, by our clock now. Ask before every write. */
  holds(): boolean;
}

export type ElectionNotice =
  | { readonly kind: 'waiting'; readonly leader: string }
  | { readonly kind: 'leading'; readonly term: number }
  | { readonly kind: 'lost'; readonly term: number; readonly why: string }
  | { readonly kind: 'released'; readonly term: number }
  | { readonly kind: 'trouble'; readonly error: unknown };

export interface ElectionOptions {
  readonly client: KubernetesClient;
  readonly namespace: string;
  readonly name: string;
  /** Of this process alone: the pod's name is not enough, as a restarted container keeps it. */
  readonly identity: string;
  /** The work of a leader: ends soon after the signal falls. Its own end ends the election; its error comes out of `start`. */
  readonly lead: (term: Term) => Promise<void>;
  readonly timing?: ElectionTiming;
  readonly clock?: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
  readonly notice?: (notice: ElectionNotice) => void;
}

interface Reign {
  readonly term: number;
  /** The lease as last written, to write over. */
  lease: Lease;
  /** Monotonic ms just before the last confirmed renewal was sent. */
  confirmedMs: number;
  /** Why it is over; null while it is not. */
  lost: string | null;
}

export class Election {
  readonly #options: ElectionOptions;
  readonly #timing: ElectionTiming;
  readonly #clock: Clock;
  readonly #record: LeaseRecord;
  readonly #stop = new AbortController();
  #running: Promise<void> | null = null;
  #sighting: Sighting | null = null;
  #reign: Reign | null = null;
  #leader = '';

  /** Throws a RangeError for a timing in which two could lead. */
  constructor(options: ElectionOptions) {
    this.#options = options;
    this.#timing = options.timing ?? DEFAULT_TIMING;
    this.#clock = options.clock ?? systemClock;
    this.#record = new LeaseRecord(options.client, options);
    const { durationMs, renewWithinMs, retryMs } = this.#timing;
    if (!(retryMs > 0 && retryMs < renewWithinMs && renewWithinMs < durationMs))
      throw new RangeError(`retryMs ${retryMs} < renewWithinMs ${renewWithinMs} < durationMs ${durationMs} does not hold`);
    if (options.identity === '') throw new RangeError('identity is empty, expected the name of this process');
  }

  /** Contends until it is stopped or `lead` ends by itself. Rejects with the error of `lead`. */
  start(): Promise<void> {
    this.#running ??= this.#contend();
    return this.#running;
  }

  isLeader(): boolean {
    return this.#reign !== null && this.#holds(this.#reign);
  }

  /** Ends `lead`, waits for it, and gives the lease back so that another can take it at once. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #contend(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const reign = await this.#tryAcquire();
      if (reign === null) {
        await sleep(this.#clock, this.#timing.retryMs * (1 + 0.2 * this.#random()), this.#stop.signal);
        continue;
      }
      this.#reign = reign;
      if (await this.#govern(reign)) return;
    }
  }

  async #tryAcquire(): Promise<Reign | null> {
    const { identity } = this.#options;
    try {
      const lease = await this.#record.read(this.#limit());
      const spec = lease?.spec ?? {};
      const nowMs = this.#clock.now();
      this.#sighting = sight(this.#sighting, spec, nowMs);
      const verdict = judge(spec, this.#sighting, { identity, nowMs, durationMs: this.#timing.durationMs });
      if (verdict.kind === 'held') {
        if (this.#leader !== verdict.by) this.#options.notice?.({ kind: 'waiting', leader: verdict.by });
        this.#leader = verdict.by;
        return null;
      }
      const before = spec.leaseTransitions ?? 0;
      const term = lease === null ? 0 : verdict.kind === 'ours' ? before : before + 1;
      const confirmedMs = this.#clock.now();
      const time = microTime(this.#clock.wall());
      const written = await this.#record.write(lease, { ...this.#spec(time), acquireTime: time, leaseTransitions: term }, this.#limit());
      if (written === null) return null;
      const reign: Reign = { term, lease: written, confirmedMs, lost: null };
      return this.#holds(reign) ? reign : null;
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#options.notice?.({ kind: 'trouble', error });
      return null;
    }
  }

  /** True when the election is over. */
  async #govern(reign: Reign): Promise<boolean> {
    const end = new AbortController();
    const fall = () => end.abort();
    this.#stop.signal.addEventListener('abort', fall, { once: true });
    if (this.#stop.signal.aborted) fall();
    this.#leader = this.#options.identity;
    this.#options.notice?.({ kind: 'leading', term: reign.term });
    let over = false;
    const settled = new AbortController();
    const lead = this.#lead(reign, end.signal).finally(() => {
      over = true;
      settled.abort();
    });
    // Its failure is taken up below, after the lease has been dealt with; what fails for want of the lease is only told.
    const quiet = lead.catch((error: unknown) => {
      if (reign.lost !== null) this.#options.notice?.({ kind: 'trouble', error });
    });
    await this.#keep(reign, end, settled.signal);
    fall();
    this.#stop.signal.removeEventListener('abort', fall);
    if (reign.lost !== null) this.#options.notice?.({ kind: 'lost', term: reign.term, why: reign.lost });
    const byItself = over;
    await quiet;
    // Another may lead from the moment that the API server has the release, which is before we have its answer.
    this.#reign = null;
    if (reign.lost === null) await this.#release(reign);
    if (!byItself || reign.lost !== null) return this.#stop.signal.aborted;
    await lead;
    return true;
  }

  async #lead(reign: Reign, signal: AbortSignal): Promise<void> {
    await this.#options.lead({ number: reign.term, signal, holds: () => !signal.aborted && this.#holds(reign) });
  }

  /** Renews until the lease is lost or the work has ended. The work that a stop ends is still protected until it has ended. */
  async #keep(reign: Reign, end: AbortController, settled: AbortSignal): Promise<void> {
    const lose = (why: string) => {
      reign.lost ??= why;
      end.abort();
    };
    while (reign.lost === null && !settled.aborted) {
      const leftMs = reign.confirmedMs + this.#timing.renewWithinMs - this.#clock.now();
      const cancel = this.#clock.after(leftMs, () => lose(`not renewed for ${this.#timing.renewWithinMs} ms`));
      try {
        await sleep(this.#clock, Math.min(this.#timing.retryMs, Math.max(0, leftMs)), settled, end.signal);
        if (settled.aborted || reign.lost !== null) return;
        await this.#renew(reign, lose);
        // A stop has already fallen: without this the loop would renew without a pause.
        if (end.signal.aborted) await sleep(this.#clock, this.#timing.retryMs, settled);
      } finally {
        cancel();
      }
    }
  }

  async #renew(reign: Reign, lose: (why: string) => void): Promise<void> {
    const sentMs = this.#clock.now();
    try {
      const leftMs = Math.max(1, reign.confirmedMs + this.#timing.renewWithinMs - sentMs);
      const limit = { ...this.#limit(), timeoutMs: Math.min(this.#limit().timeoutMs, leftMs) };
      const written = await this.#record.write(reign.lease, this.#spec(microTime(this.#clock.wall())), limit);
      if (!this.#holds(reign)) return lose(`not renewed for ${this.#timing.renewWithinMs} ms`);
      if (written !== null) {
        reign.lease = written;
        reign.confirmedMs = sentMs;
        return;
      }
      // Someone wrote it: another leader, or one that set a label, or ourselves in a renewal whose answer was lost.
      const now = await this.#record.read(limit);
      const holder = now?.spec?.holderIdentity ?? '';
      if (now === null || holder !== this.#options.identity) return lose(now === null ? 'the Lease was deleted' : `taken by "${holder}"`);
      reign.lease = now;
    } catch (error) {
      this.#options.notice?.({ kind: 'trouble', error });
    }
  }

  async #release(reign: Reign): Promise<void> {
    try {
      const spec = { holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(this.#clock.wall()) };
      const limit = { attempts: 1, timeoutMs: this.#timing.retryMs };
      const written = this.#holds(reign) ? await this.#record.write(reign.lease, spec, limit) : null;
      if (written !== null) this.#options.notice?.({ kind: 'released', term: reign.term });
    } catch (error) {
      // It expires by itself.
      this.#options.notice?.({ kind: 'trouble', error });
    }
  }

  #holds(reign: Reign): boolean {
    return reign.lost === null && this.#clock.now() < reign.confirmedMs + this.#timing.renewWithinMs;
  }

  #spec(renewTime: string): LeaseSpec {
    return { holderIdentity: this.#options.identity, leaseDurationSeconds: Math.ceil(this.#timing.durationMs / 1000), renewTime };
  }

  /** One try each: the loops here are the retries. Half the time that is left, so that a dead connection leaves time for another. */
  #limit(): { readonly attempts: number; readonly timeoutMs: number } {
    return { attempts: 1, timeoutMs: this.#timing.renewWithinMs / 2 };
  }

  #random(): number {
    return (this.#options.random ?? Math.random)();
  }
}
