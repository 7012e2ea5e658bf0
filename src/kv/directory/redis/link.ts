/**
 * The way to Redis: runs a script within the time budget of a call.
 *
 * Invariants
 * - A call ends within its budget plus one turn of the event loop, whatever the server or the network does.
 * - At most `maxPending` calls wait or are unanswered, those included whose caller has been told that their time is over.
 * - No call is sent to a server that was not judged fit since the connection was made.
 */
import type { Cancel, Clock } from '../../../shared/index.ts';
import { DirectoryFault, type DirectoryFaultCode } from '../shared/fault.ts';
import type { Connection } from './connection.ts';
import { faultOf, type Place } from './failure.ts';
import type { Script, ScriptArgument } from './scripts.ts';
import { judgeServer, type Unfitness } from './server.ts';

const JUDGE_AGAIN_MS = 1_000;
const CODES: Readonly<Record<Unfitness, DirectoryFaultCode>> = {
  old: 'incompatible',
  replica: 'readonly',
  sentinel: 'incompatible',
  unreadable: 'incompatible',
  down: 'unavailable',
};

export interface LinkOptions {
  readonly clock: Clock;
  readonly budgetMs: number;
  readonly maxPending: number;
  readonly place: Place;
}

/** `unfit`: there is a server, but it must not or does not want to be used; the fault says why. */
type State =
  | { readonly name: 'connecting'; readonly fault: DirectoryFault | null }
  | { readonly name: 'fit' }
  | { readonly name: 'unfit'; readonly fault: DirectoryFault }
  | { readonly name: 'closed' };

export class Link {
  readonly #connection: Connection;
  readonly #options: LinkOptions;
  readonly #waiting = new Set<() => void>();
  #state: State = { name: 'connecting', fault: null };
  #pending = 0;
  /** Counts connections, so that a judgement of one that is gone does not count. */
  #round = 0;

  constructor(connection: Connection, options: LinkOptions) {
    this.#connection = connection;
    this.#options = options;
    connection.onReady(() => void this.#judge());
    connection.onLost(() => this.#lose());
    connection.onError((error) => this.#note(error));
  }

  /** Resolves when a fit server is there. @throws DirectoryFault as soon as waiting has no sense, or after `withinMs` */
  ready(withinMs: number): Promise<void> {
    return this.#within(withinMs, (sent) => this.#whenFit(sent));
  }

  /** @throws DirectoryFault */
  async run(script: Script, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown> {
    const { budgetMs, maxPending, place } = this.#options;
    if (this.#pending >= maxPending) {
      throw new DirectoryFault('overloaded', `Redis at ${place.shown}: ${maxPending} calls wait already (maxPending): try again later`);
    }
    return this.#within(budgetMs, (sent) => this.#send(script, [keys, args], sent));
  }

  close(): void {
    this.#enter({ name: 'closed' });
    this.#connection.close();
  }

  async #send(script: Script, [keys, args]: readonly [readonly string[], readonly ScriptArgument[]], sent: Sent): Promise<unknown> {
    this.#pending += 1;
    try {
      if (this.#state.name !== 'fit') await this.#whenFit(sent);
      if (sent.over) return undefined;
      sent.sent = true;
      return await this.#connection.run(script, keys, args);
    } catch (error) {
      throw faultOf(error, this.#options.place, sent.sent);
    } finally {
      this.#pending -= 1;
    }
  }

  /** Waits for a state that decides. */
  async #whenFit(sent: Sent): Promise<void> {
    for (;;) {
      const state = this.#state;
      if (sent.over || state.name === 'fit') return;
      if (state.name === 'unfit') throw state.fault;
      if (state.name === 'closed')
        throw new DirectoryFault('unavailable', `Redis at ${this.#options.place.shown}: the directory is closed`);
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        sent.wake = resolve;
      });
    }
  }

  #within<T>(budgetMs: number, work: (sent: Sent) => Promise<T>): Promise<T> {
    const sent: Sent = { sent: false, over: false, wake: null };
    return new Promise((resolve, reject) => {
      const cancel: Cancel = this.#options.clock.after(budgetMs, () => {
        // If we stood still, the answer may be here unread: it gets one turn of the event loop.
        setImmediate(() => {
          sent.over = true;
          reject(this.#late(budgetMs, sent.sent));
          if (!sent.wake) return;
          this.#waiting.delete(sent.wake);
          sent.wake();
        });
      });
      void work(sent).then(resolve, reject).finally(cancel);
    });
  }

  #late(budgetMs: number, sent: boolean): DirectoryFault {
    const { shown } = this.#options.place;
    const state = this.#state;
    if (sent) {
      return new DirectoryFault('timeout', `Redis at ${shown}: no answer within ${budgetMs} ms`, { maybeApplied: true });
    }
    const why = state.name === 'connecting' && state.fault ? `; last: ${state.fault.message.replace(`Redis at ${shown}: `, '')}` : '';
    return new DirectoryFault('unavailable', `Redis at ${shown}: no connection within ${budgetMs} ms${why}`);
  }

  async #judge(): Promise<void> {
    this.#round += 1;
    const round = this.#round;
    let next: State;
    try {
      const verdicts = (await this.#connection.infos()).map(judgeServer);
      const bad = verdicts.find((verdict) => verdict.verdict !== 'fit');
      next = bad ? this.#stateOf(bad.verdict, bad.message) : { name: 'fit' };
    } catch (error) {
      const fault = faultOf(error, this.#options.place, false);
      next = fault.passing ? { name: 'connecting', fault } : { name: 'unfit', fault };
    }
    if (round !== this.#round) return;
    this.#enter(next);
    // The connection may stay as it is while the server becomes fit: a replica is promoted, a right is granted, data are loaded.
    if (next.name === 'fit' || this.#state.name === 'closed') return;
    this.#options.clock.after(JUDGE_AGAIN_MS, () => {
      if (round === this.#round) void this.#judge();
    });
  }

  #stateOf(verdict: Unfitness, message: string): State {
    const fault = new DirectoryFault(CODES[verdict], `Redis at ${this.#options.place.shown}: ${message}`);
    // A cluster comes back by itself, which is worth waiting for.
    return { name: verdict === 'down' ? 'connecting' : 'unfit', fault };
  }

  #lose(): void {
    this.#round += 1;
    const state = this.#state;
    if (state.name === 'fit') return this.#enter({ name: 'connecting', fault: null });
    // Why it cannot be used stays known while it is tried again.
    if (state.name !== 'connecting' || (state.fault !== null && !/ECONNRESET|EPIPE|broke/.test(state.fault.message))) return;
    const { shown, usesTls, isCluster } = this.#options.place;
    const what = isCluster
      ? 'no node of the cluster can be used: no slots are assigned, or nodes do not say their address (cluster-announce-ip)'
      : 'the server closes connections at once';
    const hint = usesTls ? '' : '; if the server wants TLS, the url begins with rediss://';
    this.#enter({ name: 'connecting', fault: new DirectoryFault('unavailable', `Redis at ${shown}: ${what}${hint}`) });
  }

  #note(error: Error): void {
    const state = this.#state;
    if (state.name === 'fit') return;
    const fault = faultOf(error, this.#options.place, false);
    // That it broke says less than why.
    const isKnown = state.name === 'unfit' || (state.name === 'connecting' && state.fault !== null);
    if (isKnown && fault.message.endsWith(': the connection broke')) return;
    this.#enter(fault.passing ? { name: 'connecting', fault } : { name: 'unfit', fault });
  }

  #enter(state: State): void {
    if (this.#state.name === 'closed') return;
    this.#state = state;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }
}

interface Sent {
  sent: boolean;
  /** The caller was told that its time is over. */
  over: boolean;
  wake: (() => void) | null;
}
