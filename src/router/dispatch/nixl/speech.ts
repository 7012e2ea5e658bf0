/**
 * vLLM with its NixlConnector: the hand-off travels in bodies. The prefill instance answers where its blocks are
 * (`kv_transfer_params`); the decode instance gets that with the client's request and pulls what it lacks.
 *
 * Invariants
 * - Params go to one decode leg of the request that they were given for, once, and only while the lease that their instance declares
 *   has enough left: a later pull may read the blocks of another prompt.
 * - Params that do not fit the prompt are never sent: they would end the decode instance's engine.
 */
import type { EngineInfo } from '../../../engines/index.ts';
import type { SluiceError } from '../../../shared/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { LegReport } from '../../record/index.ts';
import type { Leg } from '../../traces/index.ts';
import type { ResponseHead } from '../../upstream/index.ts';
import type { Choice } from '../choose.ts';
import type { Message, NoHandOff, PrefillAnswer, Speech, Subject, Suspect, WholeAnswer } from '../dialects/index.ts';
import { plainHead } from '../heads.ts';
import { ReplayedEvents, type StreamUsage } from '../openai/events.ts';
import { firstTokenMs } from '../openai/patience.ts';
import { joinedSalt } from '../openai/salt.ts';
import { readRefusal, readWhole } from '../openai/whole.ts';
import { decodeBody, prefillBody } from './bodies.ts';
import { type HandOff, readHandOff } from './hand-off.ts';
import { acceptableMs, usableMs } from './lease.ts';

/** What vLLM says of an engine core that ended. */
const DEAD = /EngineDeadError|EngineCore encountered an issue/;
const JSON_TYPE = 'application/json';

export class NixlSpeech implements Speech {
  readonly dialect = 'nixl';
  /** vLLM offers blocks of a finished prefill alone: a stream goes elsewhere by `do_remote_prefill` or recomputing, as after a failure. */
  readonly moving = null;
  readonly concurrent = false;
  readonly salt: string;
  readonly undivided: boolean;
  readonly events: ReplayedEvents;
  /** The whole text is generated again. */
  readonly spared = 0;
  readonly headSpeaks: boolean;
  readonly #subject: Subject;
  readonly #seed: number | null;
  /** Given, and not yet known to be used. */
  #handOff: HandOff | null = null;
  #acceptMs = 0;
  /** The prefill instance's, as it was asked. */
  #asked: EngineInfo | null = null;
  #handOffReport: LegReport['handOff'] = null;
  #wholeUsage: StreamUsage | null = null;

  constructor(subject: Subject) {
    const { request, salt, seed } = subject;
    const { traits } = request;
    this.#subject = subject;
    this.salt = joinedSalt(salt, traits.cacheSalt);
    this.undivided = traits.undivided;
    this.headSpeaks = !request.stream;
    this.#seed = request.wantsSeed ? seed : null;
    this.events = new ReplayedEvents({ choices: traits.choices, includeUsage: request.includeUsage });
  }

  prefill(instance: Instance): Message {
    this.#asked = instance.info;
    return this.#message('prefill', instance, prefillBody(this.#subject.request, this.salt));
  }

  prefilled(_from: Instance, { body, ageMs }: PrefillAnswer): LegReport | NoHandOff {
    const { identity, leaseMs = null } = this.#asked ?? {};
    const usable = usableMs(leaseMs);
    // Whatever took the time, the network or this router, it was not the instance.
    if (ageMs > usable)
      return { why: `its hand-off is ${Math.round(ageMs)} ms old, and usable for ${Math.round(usable)} ms`, innocent: true };
    const handOff = readHandOff(body, identity?.blockTokens ?? 0);
    if (typeof handOff === 'string') return { why: handOff, innocent: false };
    this.#handOff = handOff;
    this.#acceptMs = acceptableMs(leaseMs) - ageMs;
    this.events.prefillCached = handOff.cachedTokens;
    return reportOf(handOff.promptTokens, handOff.cachedTokens, null);
  }

  decode(choice: Choice): Message {
    const { request } = this.#subject;
    this.#handOffReport = this.#handOff && handOffOf(this.#handOff, choice);
    const fields = { salt: this.salt, seed: this.#seed, params: this.#handOff?.params ?? null };
    return this.#message('decode', choice.decode, decodeBody(request, fields));
  }

  firstTokenMs(choice: Choice): number {
    const { request, deadlines } = this.#subject;
    return firstTokenMs({ request, deadlines, handedOver: this.#handOff !== null }, choice);
  }

  acceptMs(): number {
    return this.#handOff === null ? Number.POSITIVE_INFINITY : this.#acceptMs;
  }

  spoken(): LegReport | null {
    this.#handOff = null;
    return null;
  }

  decoded(): LegReport | null {
    const usage = this.events.engineUsage ?? this.#wholeUsage;
    if (usage === null) return null;
    return reportOf(usage.promptTokens, usage.cachedTokens, this.#handOffReport);
  }

  /** The prefill instance frees the blocks by itself, after its lease. */
  dropHandOff(): void {
    this.#handOff = null;
    this.events.prefillCached = null;
  }

  whole(body: Buffer): WholeAnswer | SluiceError {
    const answer = readWhole(body, this.events.prefillCached);
    if ('usage' in answer) this.#wholeUsage = answer.usage;
    return answer;
  }

  misread(): false {
    return false;
  }

  refusal({ status }: ResponseHead, body: Buffer): { contentType: string; body: Buffer } {
    return { contentType: JSON_TYPE, body: readRefusal(status, body) };
  }

  suspect(said: string | null): Suspect {
    if (said !== null && DEAD.test(said)) return 'dead';
    return this.#handOff === null ? 'decode' : 'prefill';
  }

  whyNotResumed(): string | null {
    const { traits } = this.#subject.request;
    if (traits.repeatable || this.#seed !== null) return null;
    return 'a sampled request without a seed would go on with other tokens; with {"sluice": {"resume": "exact"}} it is given one';
  }

  #message(leg: Leg, { requests: { host } }: Instance, body: Buffer): Message {
    const { id, request, trace } = this.#subject;
    return { head: plainHead({ host, kind: request.kind, id, trace: trace(leg), bytes: body.length }), body };
  }
}

function reportOf(promptTokens: number, cachedTokens: number | null, handOff: LegReport['handOff']): LegReport {
  const reused = cachedTokens === null ? null : { hbm: cachedTokens, host: 0, peer: 0, store: 0 };
  const computed = cachedTokens === null ? null : promptTokens - cachedTokens;
  return { promptTokens, reused, computed, queueMs: null, prefillMs: null, handOff };
}

/** What there is to pull: all blocks but those that the decode instance had, as far as the directory knew. */
function handOffOf({ blocks }: HandOff, { decision, group }: Choice): LegReport['handOff'] {
  // Placement prices full blocks before the last token; the one with the last token is pulled too.
  const pulled = Math.min(blocks, decision.chosen.pulledBlocks + 1);
  return { blocks: pulled, bytes: pulled * group.info.bytesPerBlock, ms: null, moveMs: null, failed: null };
}
