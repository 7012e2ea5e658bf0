/**
 * The running requests of an instance that can be moved, and the places kept for those that come: `POST /sluice/session/<verb>` of
 * docs/engine-protocol.md. What is allowed is decided by `kv/migration/holder.ts`; this does it.
 *
 * Invariants
 * - What is held or paused ends by itself when nobody asks for it for the time of a lease.
 * - At most MAX_SESSIONS are known; what is over is remembered as long as there is room, so that a late command of it is refused.
 */
import type { ServerResponse } from 'node:http';
import { type HolderCommand, type Holding, learn, NOTHING, obey } from '../../kv/index.ts';
import { type Cancel, type Clock, SluiceError } from '../../shared/index.ts';
import type { EngineRequest, HandOffTicket, HeldRequest, Session } from '../port.ts';
import type { Call } from './call.ts';
import { type Body, invalid, isObject, readInteger, readTokenIds } from './fields.ts';
import { onceClosed, runCall } from './generate.ts';
import { readTicket, type SessionName } from './headers.ts';
import { sendJson } from './replies.ts';
import type { Face } from './routes.ts';

export type SessionVerb = 'offer' | 'pull' | 'follow' | 'stop' | 'commit' | 'release';

export interface SessionCommand {
  readonly verb: SessionVerb;
  readonly session: SessionName;
  readonly ticket: HandOffTicket | null;
  readonly deadlineMs: number;
  /** Generated tokens before the first of `tokens`. */
  readonly from: number;
  readonly tokens: Int32Array;
}

interface Held {
  readonly request: HeldRequest;
  readonly call: Call;
  /** Generated ones that are known. */
  readonly tokens: number[];
}

interface Entry {
  holding: Holding;
  /** While it decodes or is paused. */
  session: Session | null;
  /** While it is held. */
  held: Held | null;
  /** Given out for a peer and not known to be over. */
  lease: string;
  /** Commands under way. */
  busy: number;
  /** Somebody asked something of it, so that a late command may come. */
  asked: boolean;
  cancelTimer: Cancel;
}

interface Doing {
  readonly command: SessionCommand;
  readonly response: ServerResponse;
  /** What it was before the command. */
  readonly before: Holding;
  /** The command came for the first time, and not after one of a later owner. */
  readonly fresh: boolean;
}

/** A running request among the sessions. */
export interface Place {
  runs(session: Session): void;
  moved(): void;
  ended(): void;
}

const MAX_SESSIONS = 16_384;
const DAY_MS = 86_400_000;
const DEFAULT_PULL_MS = 10_000;

export class Sessions {
  readonly #clock: Clock;
  readonly #holdMs: number;
  readonly #entries = new Map<string, Entry>();

  /** @param holdMs how long something is held or paused that nobody asks for */
  constructor(clock: Clock, holdMs: number) {
    this.#clock = clock;
    this.#holdMs = holdMs;
  }

  /** @throws SluiceError not_found when a later owner was here already */
  begin(name: SessionName): Place {
    const entry = this.#entry(name.id);
    this.#decide(entry, { type: 'begin', generation: name.generation });
    // A later owner begins, so nobody asks for the earlier one any more.
    this.#free(entry);
    const mine = () => this.#entries.get(name.id) === entry && entry.holding.generation === name.generation;
    return {
      runs: (session) => {
        if (mine()) entry.session = session;
      },
      moved: () => {
        if (!mine()) return;
        entry.holding = learn(entry.holding, { type: 'saidLast' });
        this.#renew(name.id, entry);
      },
      ended: () => {
        if (!mine() || entry.holding.kind !== 'decoding') return;
        entry.holding = learn(entry.holding, { type: 'ended' });
        this.#free(entry);
        if (!entry.asked) this.#entries.delete(name.id);
      },
    };
  }

  /** A request with `x-sluice-leg: hold`. @throws SluiceError what the core refuses it for, not_found */
  async hold(face: Face, call: Call, { request, response }: { request: EngineRequest; response: ServerResponse }): Promise<void> {
    const name = call.directions.session as SessionName;
    if (!call.stream) throw invalid('stream', 'true with x-sluice-leg: hold', false);
    const entry = this.#entry(name.id);
    this.#decide(entry, { type: 'reserve', generation: name.generation });
    entry.asked = true;
    this.#renew(name.id, entry);
    const held = face.core.hold(request);
    entry.held = { request: held, call, tokens: [...call.directions.resumed] };
    try {
      await held.placed;
    } catch (thrown) {
      if (entry.held?.request === held) this.#end(entry);
      throw thrown;
    }
    sendJson(response, 200, { object: 'sluice.hold', session: name.id }, { 'x-request-id': call.requestId });
  }

  /** @throws SluiceError not_found, and what the core says */
  async obey(face: Face, command: SessionCommand, response: ServerResponse): Promise<void> {
    const { verb, session } = command;
    const entry = this.#entry(session.id);
    const before = entry.holding;
    const fresh = this.#decide(entry, { type: verb, generation: session.generation });
    entry.asked = true;
    entry.busy += 1;
    try {
      await this.#do(face, entry, { command, response, before, fresh });
    } finally {
      entry.busy -= 1;
      if (entry.holding.kind === 'held' || entry.holding.kind === 'paused') this.#renew(session.id, entry);
    }
  }

  async #do(face: Face, entry: Entry, { command, response, before, fresh }: Doing): Promise<void> {
    const { verb, session } = command;
    switch (verb) {
      case 'offer':
        return this.#offer(face, entry, response);
      case 'pull':
        return this.#pull(entry, command, response);
      case 'follow':
        await this.#follow(entry, command);
        return sendJson(response, 200, { known: entry.held?.tokens.length ?? 0 });
      case 'stop':
        if (fresh) entry.session?.stop();
        return sendJson(response, 200, { stopping: true });
      case 'commit':
        return this.#commit(face, entry, { command, response });
      case 'release':
        if (fresh) this.#giveLeaseBack(face, entry);
        if (fresh && before.kind !== 'decoding') this.#free(entry);
        return sendJson(response, 200, { released: session.id });
    }
  }

  close(): void {
    for (const entry of this.#entries.values()) this.#free(entry);
    this.#entries.clear();
  }

  async #offer(face: Face, entry: Entry, response: ServerResponse): Promise<void> {
    const ticket = await entry.session?.offer();
    if (!ticket) throw unknown();
    entry.lease = ticket.lease;
    // It ended or was released meanwhile: nobody will give this lease back.
    if (!('leased' in entry.holding && entry.holding.leased)) this.#giveLeaseBack(face, entry);
    sendJson(response, 200, { ticket });
  }

  async #pull(entry: Entry, { ticket, deadlineMs }: SessionCommand, response: ServerResponse): Promise<void> {
    if (ticket === null) throw invalid('ticket', 'a HandOffTicket', ticket);
    const handOff = await entry.held?.request.pull(ticket, deadlineMs);
    if (!handOff) throw unknown();
    sendJson(response, 200, { handOff });
  }

  async #follow(entry: Entry, { from, tokens }: SessionCommand): Promise<void> {
    const { held } = entry;
    if (held === null) throw unknown();
    const fresh = newTokens(held, from, tokens);
    for (const token of fresh) held.tokens.push(token);
    await held.request.follow(fresh);
  }

  #commit(face: Face, entry: Entry, { command, response }: { command: SessionCommand; response: ServerResponse }): void {
    const { held } = entry;
    if (held === null) throw unknown();
    const { id, generation } = command.session;
    const current = () => entry.holding.generation === generation && entry.holding.kind === 'decoding';
    const leave = () => {
      if (!current()) return;
      entry.holding = learn(entry.holding, { type: 'ended' });
      this.#free(entry);
    };
    let fresh: Int32Array;
    try {
      fresh = newTokens(held, command.from, command.tokens);
    } catch (thrown) {
      leave();
      throw thrown;
    }
    entry.held = null;
    entry.cancelTimer();
    // Computed with the last token, for which the start has to wait anyway. When the request is over, the start says so.
    held.request.follow(fresh).catch(() => undefined);
    const resumed = Int32Array.from([...held.tokens, ...fresh]);
    const call = { ...held.call, directions: { ...held.call.directions, resumed, deadlineMs: command.deadlineMs } };
    let begun = false;
    const onMoved = () => {
      if (!current()) return;
      entry.holding = learn(entry.holding, { type: 'saidLast' });
      this.#renew(id, entry);
    };
    runCall(face, { call, response, onMoved }, (sink) => {
      begun = true;
      const session = held.request.start(sink);
      entry.session = session;
      return session;
    });
    if (!begun) held.request.cancel();
    onceClosed(response, leave);
  }

  #entry(id: string): Entry {
    const known = this.#entries.get(id);
    if (known) return known;
    if (this.#entries.size >= MAX_SESSIONS) this.#forget();
    const entry: Entry = { holding: NOTHING, session: null, held: null, lease: '', busy: 0, asked: false, cancelTimer: () => undefined };
    this.#entries.set(id, entry);
    return entry;
  }

  /** The oldest that are over. */
  #forget(): void {
    for (const [id, { holding }] of this.#entries) {
      if (holding.kind === 'gone') this.#entries.delete(id);
      if (this.#entries.size < MAX_SESSIONS / 2) return;
    }
    if (this.#entries.size >= MAX_SESSIONS)
      throw new SluiceError('queue_full', `${MAX_SESSIONS} sessions are here already`, { retryAfterSeconds: 1 });
  }

  /** False when it was done already. @throws SluiceError not_found */
  #decide(entry: Entry, command: HolderCommand): boolean {
    const verdict = obey(entry.holding, command);
    if (verdict.type === 'refuse') throw new SluiceError('not_found', verdict.why);
    if (verdict.type === 'do') entry.holding = verdict.next;
    return verdict.type === 'do';
  }

  #renew(id: string, entry: Entry): void {
    entry.cancelTimer();
    entry.cancelTimer = this.#clock.after(this.#holdMs, () => {
      if (this.#entries.get(id) !== entry) return;
      if (entry.busy > 0) this.#renew(id, entry);
      else this.#end(entry);
    });
  }

  #end(entry: Entry): void {
    entry.holding = learn(entry.holding, { type: 'expired' });
    this.#free(entry);
  }

  /** Whatever it still has; a lease ends by itself. */
  #free(entry: Entry): void {
    entry.cancelTimer();
    entry.session?.cancel();
    entry.held?.request.cancel();
    entry.session = null;
    entry.held = null;
  }

  #giveLeaseBack(face: Face, entry: Entry): void {
    if (entry.lease !== '') face.core.releaseLease(entry.lease);
    entry.lease = '';
  }
}

/** Those of `tokens` that are not known yet. @throws SluiceError invalid_request when some in between are missing, or there are too many */
function newTokens({ tokens: known, call }: Pick<Held, 'tokens' | 'call'>, from: number, tokens: Int32Array): Int32Array {
  if (from > known.length) throw invalid('from', `at most the ${known.length} tokens that are known`, from);
  const { maxTokens } = call.sampling;
  if (from + tokens.length > maxTokens)
    throw invalid('tokens', `with the ${from} before them at most ${maxTokens} (max_tokens)`, tokens.length);
  return tokens.subarray(Math.min(tokens.length, known.length - from));
}

function unknown(): SluiceError {
  return new SluiceError('not_found', 'there is no such session here');
}

/** @throws SluiceError invalid_request */
export function readCommand(verb: SessionVerb, body: Body, vocabularySize: number): SessionCommand {
  const id = body['session'];
  if (typeof id !== 'string' || id.length === 0 || id.length > 128) throw invalid('session', 'a name of 1 to 128 characters', id);
  const generation = readInteger(body, 'generation', { min: 1, max: 999_999_999 });
  if (generation === null) throw invalid('generation', 'a whole number from 1', generation);
  const { ticket = null, tokens = [] } = body;
  if (!Array.isArray(tokens)) throw invalid('tokens', 'an array of token ids', tokens);
  return {
    verb,
    session: { id, generation },
    ticket: isObject(ticket) ? readTicket(ticket) : null,
    deadlineMs: readInteger(body, 'deadlineMs', { min: 1, max: DAY_MS }) ?? DEFAULT_PULL_MS,
    from: readInteger(body, 'from', { min: 0, max: Number.MAX_SAFE_INTEGER }) ?? 0,
    tokens: readTokenIds(tokens, 'tokens', vocabularySize),
  };
}
