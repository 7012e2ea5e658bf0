/**
 * SGLang's dialect, from its OpenAI API as of 0.5.18: both legs get the same body, with `bootstrap_host`, `bootstrap_port` and
 * `bootstrap_room`, at the same time. The decode instance takes room for the prompt's KV and waits, the prefill instance computes and sends.
 *
 * Invariants
 * - No two attempts have a room or an `rid` in common, whatever the client says: its own fields of these names were taken out.
 * - While the hand-off is not over, giving the attempt up ends both legs, each by its connection and by `/abort_request`.
 */
import type { SluiceError } from '../../../shared/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { LegReport } from '../../record/index.ts';
import type { Leg } from '../../traces/index.ts';
import type { ResponseHead } from '../../upstream/index.ts';
import type { Choice } from '../choose.ts';
import type { Message, NoHandOff, PrefillAnswer, Speech, Subject, Suspect, WholeAnswer } from '../dialects/index.ts';
import { plainHead } from '../heads.ts';
import { withFields } from '../openai/bodies.ts';
import { ReplayedEvents, type StreamUsage } from '../openai/events.ts';
import { firstTokenMs } from '../openai/patience.ts';
import { joinedSalt } from '../openai/salt.ts';
import { readRefusal, readWhole } from '../openai/whole.ts';
import { readPrefilled } from './answer.ts';
import { abortOn, type Room } from './room.ts';

/** What the decode instance says of a hand-off that failed at the other end. */
const OF_THE_OTHER_END = /prefill|bootstrap|transfer/i;
const JSON_TYPE = 'application/json';

/** Legs whose hand-off is not known to be over. */
interface Open {
  readonly rid: string;
  readonly instances: Instance[];
}

export class BootstrapSpeech implements Speech {
  readonly dialect = 'bootstrap';
  readonly moving = null;
  readonly concurrent = true;
  readonly salt: string;
  readonly undivided: boolean;
  readonly events: ReplayedEvents;
  /** The whole text is generated again. */
  readonly spared = 0;
  readonly headSpeaks: boolean;
  readonly #subject: Subject;
  #attempts = 0;
  #room: Room | null = null;
  #open: Open | null = null;
  #handOff: LegReport['handOff'] = null;
  #wholeUsage: StreamUsage | null = null;

  constructor(subject: Subject) {
    const { request, salt } = subject;
    const { traits } = request;
    this.#subject = subject;
    this.salt = joinedSalt(salt, traits.cacheSalt);
    this.undivided = traits.undivided;
    this.headSpeaks = !request.stream;
    this.events = new ReplayedEvents({ choices: traits.choices, includeUsage: request.includeUsage });
  }

  prefill(instance: Instance): Message {
    const { host = '', port = 0 } = instance.info?.transfer ?? {};
    this.#begin();
    this.#room = { host, port, number: this.#subject.newRoom() };
    return this.#message(instance, 'prefill');
  }

  prefilled(_from: Instance, { body }: PrefillAnswer): LegReport | NoHandOff {
    const { request } = this.#subject;
    const read = readPrefilled(body, request.stream);
    if (typeof read === 'string') return { why: read, innocent: false };
    return reportOf(read, null);
  }

  decode(choice: Choice): Message {
    if (this.#room === null) this.#begin();
    this.#handOff = this.#room === null ? null : handOffOf(choice);
    return this.#message(choice.decode, 'decode');
  }

  firstTokenMs(choice: Choice): number {
    const { request, deadlines } = this.#subject;
    return firstTokenMs({ request, deadlines, handedOver: this.#room !== null }, choice);
  }

  acceptMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  spoken(): null {
    this.#open = null;
    this.#room = null;
    return null;
  }

  decoded(): LegReport | null {
    const usage = this.events.engineUsage ?? this.#wholeUsage;
    // After a hand-off it is what the prefill instance had, told once more.
    return usage && reportOf(this.#handOff === null ? usage : { ...usage, cachedTokens: null }, this.#handOff);
  }

  dropHandOff(): void {
    const open = this.#open;
    this.#open = null;
    this.#room = null;
    if (open !== null) for (const instance of open.instances) abortOn(instance, open.rid, this.#subject.clock);
  }

  whole(body: Buffer): WholeAnswer | SluiceError {
    const answer = readWhole(body, null);
    if ('usage' in answer) this.#wholeUsage = answer.usage;
    return answer;
  }

  /**
   * It names what no client can know. (A connection that broke may be tried again while the instance still has the first request of this
   * name.) Other words may be the client's own: they would be tried everywhere, and held against every instance.
   */
  misread(body: Buffer): boolean {
    const room = this.#room === null ? null : `bootstrap_room=${this.#room.number}`;
    return this.#open !== null && (body.includes(this.#open.rid) || (room !== null && body.includes(room)));
  }

  refusal({ status }: ResponseHead, body: Buffer): { contentType: string; body: Buffer } {
    return { contentType: JSON_TYPE, body: readRefusal(status, body) };
  }

  suspect(said: string | null): Suspect {
    return this.#room !== null && said !== null && OF_THE_OTHER_END.test(said) ? 'prefill' : 'decode';
  }

  /** SGLang takes a seed into account only where it was started to compute deterministically, which it does not say. */
  whyNotResumed(): string | null {
    if (this.#subject.request.traits.greedy) return null;
    return 'a sampled request would go on with other tokens on another SGLang; only greedy ones, with temperature 0, are resumed';
  }

  #begin(): void {
    this.#attempts += 1;
    this.#open = { rid: `${this.#subject.session}-${this.#attempts}`, instances: [] };
  }

  /** The same for both legs, so that neither can differ in what it makes of the prompt. */
  #message(instance: Instance, leg: Leg): Message {
    const { id, request, trace } = this.#subject;
    this.#open?.instances.push(instance);
    const body = withFields(request, {
      ...(request.stream && !request.includeUsage ? { stream_options: { include_usage: true } } : {}),
      ...(this.salt === '' ? {} : { cache_salt: this.salt }),
      rid: this.#open?.rid,
      ...(this.#room && { bootstrap_host: this.#room.host, bootstrap_port: this.#room.port, bootstrap_room: this.#room.number }),
    });
    return { head: plainHead({ host: instance.requests.host, kind: request.kind, id, trace: trace(leg), bytes: body.length }), body };
  }
}

function reportOf({ promptTokens, cachedTokens }: StreamUsage, handOff: LegReport['handOff']): LegReport {
  const reused = cachedTokens === null ? null : { hbm: cachedTokens, host: 0, peer: 0, store: 0 };
  const computed = cachedTokens === null ? null : promptTokens - cachedTokens;
  return { promptTokens, reused, computed, queueMs: null, prefillMs: null, handOff };
}

/** All of the prompt is sent, but for what the decode instance had, as far as the directory knew. */
function handOffOf({ decision, group }: Choice): LegReport['handOff'] {
  const blocks = decision.chosen.pulledBlocks + 1;
  return { blocks, bytes: blocks * group.info.bytesPerBlock, ms: null, moveMs: null, failed: null };
}
