/**
 * What differs between engines in how one request is spoken with them. A flight has one speech and uses it over all of its attempts;
 * who is asked, how often and until when is the flight's.
 */
import type { Dialect } from '../../../engines/index.ts';
import type { Clock, SluiceError } from '../../../shared/index.ts';
import type { ParsedRequest } from '../../edge/index.ts';
import type { Instance } from '../../instances/instance.ts';
import type { LegReport } from '../../record/index.ts';
import type { Leg } from '../../traces/index.ts';
import type { ResponseHead } from '../../upstream/index.ts';
import type { Choice } from '../choose.ts';
import type { Deadlines } from '../deadlines.ts';

/** The request as all dialects need it. */
export interface Subject {
  readonly request: ParsedRequest;
  readonly id: string;
  /** Tenant salt; '' = none. */
  readonly salt: string;
  /** Unix seconds. */
  readonly created: number;
  /** For a request that has no seed of its own. */
  readonly seed: number | null;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  /** Header lines of the trace context for a leg of the present attempt; '' = none. */
  readonly trace: (leg: Leg) => string;
  /** Name under which engines know the request's stream; no other request has it. */
  readonly session: string;
  /** A number that no two attempts of any requests have in common: 0 to 2^52 - 1. */
  readonly newRoom: () => number;
}

/** One HTTP request. */
export interface Message {
  readonly head: string;
  readonly body: Buffer;
}

/** Why a stream of a 200 is of no use any more: the engine said so; it gave the request up; it does not go on as the first one did. */
export interface StreamStop {
  readonly kind: 'error' | 'aborted' | 'diverged';
  readonly text: string;
}

/** Engine's stream in, client's stream out: whole events only, so that another instance can go on between two of them. */
export interface EventReader {
  /** Tokens that the forwarded events carry; of an engine that does not tell, the count of events until its usage comes. */
  readonly tokens: number;
  /** `[DONE]` was forwarded. */
  readonly done: boolean;
  /** Set once all tokens were forwarded: only usage and `[DONE]` can be missing then. */
  readonly finishReason: string | null;
  /** The event with usage was forwarded. */
  readonly usage: boolean;
  /** The present instance sends tokens, though the client may have all of them already. */
  readonly heard: boolean;
  /** From then on nothing is read. */
  readonly stopped: StreamStop | null;
  /** The engine ended the stream because it goes on elsewhere. */
  readonly moved: boolean;
  /**
   * Takes the next bytes and returns what goes to the client, in memory of its own; null when there is nothing yet.
   * @throws RangeError when an event does not end within 4 MiB
   */
  take(piece: Buffer): Buffer | null;
  /** Forgets the half event of a stream that broke; the next bytes come from another instance. */
  restart(): void;
}

export interface PrefillAnswer {
  readonly body: Buffer;
  /** Milliseconds since its head came, or may have come. */
  readonly ageMs: number;
}

/** Why an answer is no hand-off. */
export interface NoHandOff {
  readonly why: string;
  /** It was one, and the instance is not to blame that it is of no use any more. */
  readonly innocent: boolean;
}

/** Who has to answer for a decode leg that failed although it could be reached; `dead`: the decode instance, and for good. */
export type Suspect = 'prefill' | 'decode' | 'dead';

/** A whole (not streamed) 200, as the client and the record get it. */
export interface WholeAnswer {
  readonly body: Buffer;
  readonly outputTokens: number;
  readonly finishReason: string | null;
}

export type SessionVerb = 'offer' | 'pull' | 'follow' | 'stop' | 'commit' | 'release';

/** How a running decode is moved to another instance (docs/engine-protocol.md, Moving a running request). */
export interface MoveSpeech {
  readonly session: string;
  /** Ids of all tokens that went out. */
  readonly tokenIds: readonly number[];
  /** Of the next owner of the stream: the fencing token of a move. */
  nextGeneration(): number;
  /** Asks for a place. */
  hold(target: Instance, generation: number, deadlineMs: number): Message;
  /** @param fields beside the session's name */
  command(verb: SessionVerb, instance: Instance, fields: { readonly generation: number } & Readonly<Record<string, unknown>>): Message;
}

export interface Speech {
  /** Null: the engine does not offer blocks of a running decode. */
  readonly moving: MoveSpeech | null;
  readonly dialect: Dialect;
  /** Salt of the key chain. */
  readonly salt: string;
  /** One instance has to do all of it. */
  readonly undivided: boolean;
  readonly events: EventReader;
  /** Tokens that went out and that the next instance will not have to make again. */
  readonly spared: number;
  /** A 200 says that the first token is there. */
  readonly headSpeaks: boolean;
  /** Both legs are sent at once: the decode instance waits for the prefill instance itself. */
  readonly concurrent: boolean;

  prefill(instance: Instance, deadlineMs: number): Message;
  /** Takes the hand-off of a 200 and holds it. */
  prefilled(from: Instance, answer: PrefillAnswer): LegReport | NoHandOff;
  /** With the hand-off that is held, if any. */
  decode(choice: Choice, deadlineMs: number): Message;
  /** Longest wait for the decode leg's first token, milliseconds. */
  firstTokenMs(choice: Choice): number;
  /** By when the decode instance must have shown that it lives, or the hand-off is of no use any more; milliseconds from the leg's start. */
  acceptMs(): number;
  /** The first token is there, so the hand-off is over. */
  spoken(head: ResponseHead): LegReport | null;
  /** What is known of the decode leg once it is complete; null = no more than `spoken` said. */
  decoded(): LegReport | null;
  /** The hand-off that is held will not happen. */
  dropHandOff(): void;
  whole(body: Buffer): WholeAnswer | SluiceError;
  /** An engine's 4xx is about what this router put into the request, and not about the client's words. */
  misread(body: Buffer): boolean;
  /** What the client gets of an engine's 4xx. */
  refusal(head: ResponseHead, body: Buffer): { readonly contentType: string; readonly body: Buffer };
  /** @param said by the engine, in an answer or an event; null = nothing */
  suspect(said: string | null): Suspect;
  /** Why the stream that has begun cannot be taken up by another instance; null = it can. */
  whyNotResumed(): string | null;
}
