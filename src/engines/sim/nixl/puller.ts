/**
 * Pulling as vLLM's NixlConnector does it, over the transfer of `kv/`. Unlike Sluice's own, a pull that fails ends its request, block
 * ids that do not fit end the engine, and blocks of another prompt are taken without a word: then what is said is wrong, as it would be.
 *
 * The lease on the wire is `<engine id>/<request id>`, so that the peer can refuse what was meant for an earlier life of it.
 */
import { pull } from '../../../kv/index.ts';
import { type Clock, sleep } from '../../../shared/index.ts';
import { pullMs } from '../../costs/index.ts';
import type { EngineCosts, HandOffTicket } from '../../port.ts';
import type { PullBounds, PullCounters, SequencePuller } from '../pull.ts';
import type { Pulled, Sequence } from '../sequence.ts';

export interface NixlPullerOptions {
  readonly clock: Clock;
  readonly costs: EngineCosts;
  readonly blockTokens: number;
  readonly bytesPerBlock: number;
  readonly transfer: 'tcp' | 'declared';
  readonly peer: string;
  /** How long the first contact to an engine may take. */
  readonly sideChannelTimeoutMs: number;
  /** Params came that end vLLM's engine. */
  readonly onDeadly: () => void;
  readonly onPulled: (bytes: number, ms: number) => void;
}

interface Wanted {
  readonly keys: readonly string[];
  readonly tokens: Int32Array;
  readonly signal: AbortSignal | null;
}

/** A known engine is not asked twice who it is; reading from it is only bounded so that nothing waits for ever. */
const READ_MS = 60_000;
const NOTIFY_MS = 5_000;
const ENGINES_KEPT = 256;
const NOTHING: Wanted = { keys: [], tokens: new Int32Array(0), signal: null };
/** What `pull` says when the peer holds other blocks than those. */
const OTHER_BLOCKS = /does not hold it/;

export class NixlPuller implements SequencePuller {
  readonly #options: NixlPullerOptions;
  readonly #known = new Set<string>();
  #queried = 0;
  #hit = 0;
  #bytes = 0;
  #failures = 0;
  failedNotifications = 0;

  constructor(options: NixlPullerOptions) {
    this.#options = options;
  }

  counters(): PullCounters {
    return { externalQueryTokens: this.#queried, externalHitTokens: this.#hit, pulledBytes: this.#bytes, pullFailures: this.#failures };
  }

  /** @throws Error when the blocks can not be had */
  async pull(sequence: Sequence, { local }: Pick<PullBounds, 'local'>, signal: AbortSignal): Promise<Pulled | null> {
    const { ticket, prompt } = sequence.request;
    if (ticket === null) return null;
    const { blockTokens, clock } = this.#options;
    const whole = Math.floor(prompt.length / blockTokens);
    // The last token is always computed, so that there is something to sample from.
    const from = Math.min(local, Math.floor((prompt.length - 1) / blockTokens));
    const needed = Math.ceil(prompt.length / blockTokens);
    if (needed - from > ticket.blocks) {
      this.#options.onDeadly();
      throw new Error(`${ticket.blocks} block ids for ${needed - from} blocks`);
    }
    const wanted = {
      keys: sequence.keys.slice(from, whole),
      tokens: sequence.tokens.slice(from * blockTokens, whole * blockTokens),
      signal,
    };
    const startedAt = clock.now();
    this.#queried += prompt.length - from * blockTokens;
    const right = await this.#read(ticket, wanted);
    if (!right || ticket.blocks > needed) sequence.speech.garble();
    const ms = clock.now() - startedAt;
    const bytes = wanted.keys.length * this.#options.bytesPerBlock;
    this.#hit += prompt.length - from * blockTokens;
    this.#bytes += bytes;
    this.#options.onPulled(bytes, ms);
    return { from, to: whole, report: { blocks: wanted.keys.length, bytes, ms, moveMs: ms, failed: null } };
  }

  /** Tells the peer that nobody is going to read. Nobody waits for it, and nothing follows if it fails. */
  notify(ticket: HandOffTicket): void {
    if (this.#options.transfer === 'declared') return;
    const told = (failed: string | null) => {
      if (failed !== null) this.failedNotifications += 1;
    };
    this.#fetch(ticket, NOTHING, NOTIFY_MS).then(told, (thrown: unknown) => told(String(thrown)));
  }

  /** False when the peer holds other blocks than these. */
  async #read(ticket: HandOffTicket, wanted: Wanted): Promise<boolean> {
    const { clock, costs, bytesPerBlock, transfer, sideChannelTimeoutMs } = this.#options;
    const startedAt = clock.now();
    const isKnown = this.#known.has(ticket.incarnation);
    const failed = transfer === 'declared' ? null : await this.#fetch(ticket, wanted, isKnown ? READ_MS : sideChannelTimeoutMs);
    const holdsOthers = failed !== null && OTHER_BLOCKS.test(failed);
    const spentMs = () => clock.now() - startedAt;
    if (failed !== null && !holdsOthers) {
      this.#failures += 1;
      if (wanted.signal?.aborted) this.notify(ticket);
      // A first contact that fails takes its whole time in vLLM: whether nobody listens, or somebody else does.
      else if (!isKnown) await this.#rest(sideChannelTimeoutMs - spentMs(), wanted.signal);
      throw new Error(failed);
    }
    if (this.#known.size >= ENGINES_KEPT) this.#known.clear();
    this.#known.add(ticket.incarnation);
    await this.#rest(pullMs(costs, wanted.keys.length * bytesPerBlock) - spentMs(), wanted.signal);
    return !holdsOthers;
  }

  async #rest(ms: number, signal: AbortSignal | null): Promise<void> {
    if (ms > 0) await sleep(this.#options.clock, ms, signal ?? undefined);
  }

  async #fetch(ticket: HandOffTicket, { keys, tokens, signal }: Wanted, deadlineMs: number): Promise<string | null> {
    const { clock, blockTokens, bytesPerBlock, peer } = this.#options;
    const { failed } = await pull({
      host: ticket.host,
      port: ticket.port,
      lease: `${ticket.incarnation}/${ticket.lease}`,
      keys,
      tokens,
      blockTokens,
      bytesPerBlock,
      deadlineMs,
      ...(signal === null ? {} : { signal }),
      clock,
      peer,
      // The bytes say nothing here; what counts is that they came and were verified.
      onBlock: () => {},
    });
    return failed;
  }
}
