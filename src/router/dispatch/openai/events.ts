/**
 * Events of an engine that is not ours, on their way to the client. Its head says nothing: a stream may still fail when it is sent, and so
 * may a chat whose event with the role is out. So nothing goes out before an event that carries a token.
 *
 * A stream that is taken up by another instance comes again from its beginning ("regenerate and skip"): what the client has is taken
 * out, compared by its checksum, and `created` and `id` stay what they were.
 */
import type { EventReader, StreamStop } from '../dialects/index.ts';
import { endOfEvent, isError, MAX_EVENT_BYTES, PAYLOAD_AT } from '../events.ts';
import { StreamedChoice } from './choice.ts';
import { isRecord } from './json.ts';
import { matched, type Template, textOf } from './template.ts';
import { cachedIn, correctCached, numberIn } from './usage.ts';

type Fields = Record<string, unknown>;

export interface ReplayedEventOptions {
  /** Choices that the stream has. */
  readonly choices: number;
  /** The client wants the event with usage; it is asked for in any case. */
  readonly includeUsage: boolean;
}

export interface StreamUsage {
  readonly promptTokens: number;
  readonly cachedTokens: number | null;
}

const QUOTE = 34;
const BRACKET = 91;
const CREATED = Buffer.from('"created":');
const ID_START = Buffer.from('data: {"id":"');
const DIVERGED = 'another instance did not reproduce what was sent already';

export class ReplayedEvents implements EventReader {
  tokens = 0;
  done = false;
  finishReason: string | null = null;
  usage = false;
  heard = false;
  readonly moved = false;
  stopped: StreamStop | null = null;
  /** Prompt tokens that the prefill instance had; null after no hand-off. */
  prefillCached: number | null = null;
  /** As the instance said. */
  engineUsage: StreamUsage | null = null;
  readonly #options: ReplayedEventOptions;
  readonly #choices = new Map<number, StreamedChoice>();
  #template: Template | null = null;
  #again = false;
  /** Digits of `created` of the first event that went out. */
  #created: string | null = null;
  #id: string | null = null;
  /** Something went out, so a stream that comes now comes again. */
  #begun = false;
  #carry: Buffer | null = null;
  /** Events with nothing but a role, until one that carries something. */
  #held: Buffer[] = [];
  #out: Buffer[] = [];

  constructor(options: ReplayedEventOptions) {
    this.#options = options;
  }

  take(piece: Buffer): Buffer | null {
    const all = this.#carry ? Buffer.concat([this.#carry, piece]) : piece;
    this.#carry = null;
    let from = 0;
    while (from < all.length && this.stopped === null) {
      const end = endOfEvent(all, from);
      if (end < 0) break;
      this.#event(all, from, end);
      from = end;
    }
    if (from < all.length && this.stopped === null) this.#keep(all, from);
    if (this.#out.length === 0) return null;
    const out = Buffer.concat(this.#out);
    this.#out = [];
    this.#begun = true;
    return out;
  }

  restart(): void {
    this.#carry = null;
    this.#held = [];
    this.#template = null;
    this.stopped = null;
    this.heard = false;
    this.engineUsage = null;
    if (!this.#begun) {
      // Nothing went out: what was held back is of no account.
      this.#choices.clear();
      this.#created = null;
      this.#id = null;
      this.tokens = 0;
    }
    this.#again = this.#begun;
    for (const choice of this.#choices.values()) choice.rewind();
  }

  #keep(all: Buffer, from: number): void {
    if (all.length - from > MAX_EVENT_BYTES) throw new RangeError('an event of more than 4 MiB');
    this.#carry = Buffer.from(all.subarray(from));
  }

  #event(all: Buffer, start: number, end: number): void {
    if (isError(all, start)) {
      this.stopped = { kind: 'error', text: all.toString('utf8', start + PAYLOAD_AT, end).trimEnd() };
    } else if (all[start + PAYLOAD_AT] === BRACKET) {
      if (this.finishReason === null) return;
      this.done = true;
      this.#out.push(all.subarray(start, end));
    } else if (this.#template === null || !this.#plain(this.#template, all, start, end)) {
      this.#parsed(all.subarray(start, end));
    }
  }

  /** False when the event has to be parsed. */
  #plain(template: Template, all: Buffer, start: number, end: number): boolean {
    const text = matched(template, all, start, end);
    if (text === null) return false;
    const { channel, shown, prefix } = template;
    this.heard = true;
    if (channel.left > 0) {
      if (text.length > channel.left) return false;
      if (channel.skip(text) === null) this.#diverge();
      return true;
    }
    channel.sent(text);
    this.tokens += 1;
    if (shown === prefix) this.#out.push(all.subarray(start, end));
    else this.#out.push(shown, all.subarray(start + prefix.length, end));
    return true;
  }

  #parsed(event: Buffer): void {
    let fields: Fields;
    try {
      fields = JSON.parse(event.toString('utf8', PAYLOAD_AT)) as Fields;
    } catch {
      this.stopped = { kind: 'error', text: 'an event is no JSON' };
      return;
    }
    const choices = Array.isArray(fields['choices']) ? fields['choices'].filter(isRecord) : [];
    if (choices.length > 0) this.#withChoices(event, fields, choices);
    else if (isRecord(fields['usage'])) this.#withUsage(event, fields, fields['usage']);
  }

  #withUsage(event: Buffer, fields: Fields, usage: Fields): void {
    this.engineUsage = { promptTokens: numberIn(usage, 'prompt_tokens'), cachedTokens: cachedIn(usage) };
    this.tokens = numberIn(usage, 'completion_tokens');
    if (!this.#options.includeUsage || this.usage) return;
    this.usage = true;
    this.#forward(event, correctCached(usage, this.prefillCached) ? fields : null);
  }

  #withChoices(event: Buffer, fields: Fields, choices: readonly Fields[]): void {
    let changed = false;
    let known = true;
    let finish: string | null = null;
    for (const choice of choices) {
      const reason: unknown = choice['finish_reason'];
      if (reason === 'abort') this.stopped = { kind: 'aborted', text: 'abort' };
      else if (reason === 'error') this.stopped = { kind: 'error', text: 'finish_reason error' };
      if (this.stopped !== null) return;
      if (typeof reason === 'string') finish = reason;
      const taken = this.#choice(numberIn(choice, 'index')).take(choice, this.#again);
      if (taken === 'diverged') return this.#diverge();
      changed ||= taken === 'changed';
      known &&= taken === 'known';
    }
    const isRole = finish === null && hasRole(choices);
    this.heard ||= !isRole;
    if (finish === null) this.#learn(event, choices);
    if (known) return;
    if (isRole) return this.#hold(event, changed ? fields : null);
    this.tokens += 1;
    this.#forward(event, changed ? fields : null);
    if (finish !== null && this.#allFinished()) this.finishReason = finish;
  }

  #choice(index: number): StreamedChoice {
    const known = this.#choices.get(index);
    if (known) return known;
    const made = new StreamedChoice();
    this.#choices.set(index, made);
    return made;
  }

  #allFinished(): boolean {
    return this.#choices.size >= this.#options.choices && [...this.#choices.values()].every((choice) => choice.finished);
  }

  /** @param changed the event's fields when its bytes do not tell them any more */
  #forward(event: Buffer, changed: Fields | null): void {
    this.#out.push(...this.#held, this.#shown(event, changed));
    this.#held = [];
  }

  #hold(event: Buffer, changed: Fields | null): void {
    this.#held.push(Buffer.from(this.#shown(event, changed)));
  }

  #shown(event: Buffer, changed: Fields | null): Buffer {
    return this.#sameId(this.#sameCreated(changed === null ? event : Buffer.from(`data: ${JSON.stringify(changed)}\n\n`)));
  }

  /** All events have the `created` of the first. */
  #sameCreated(event: Buffer): Buffer {
    const at = event.indexOf(CREATED);
    if (at < 0) return event;
    const from = at + CREATED.length;
    let to = from;
    while (to < event.length && isDigit(event[to])) to += 1;
    const digits = event.toString('latin1', from, to);
    this.#created ??= digits;
    if (digits === this.#created) return event;
    return Buffer.concat([event.subarray(0, from), Buffer.from(this.#created), event.subarray(to)]);
  }

  /** All events have the `id` of the first: SGLang has a name of its own for each attempt. */
  #sameId(event: Buffer): Buffer {
    const from = ID_START.length;
    const to = event.indexOf(QUOTE, from);
    if (to < 0 || event.compare(ID_START, 0, from, 0, from) !== 0) return event;
    const id = event.toString('latin1', from, to);
    this.#id ??= id;
    return id === this.#id ? event : Buffer.concat([ID_START, Buffer.from(this.#id, 'latin1'), event.subarray(to)]);
  }

  /** From the next event on, those that differ from this one in the text alone are not parsed. */
  #learn(event: Buffer, [choice]: readonly Fields[]): void {
    const { logprobs, token_ids: ids } = choice ?? {};
    if (this.#options.choices > 1 || isRecord(logprobs) || Array.isArray(ids)) return;
    const text = textOf(event);
    if (text === null || text.to <= text.from) return;
    const prefix = Buffer.from(event.subarray(0, text.from));
    const suffix = Buffer.from(event.subarray(text.to));
    this.#template = { prefix, suffix, shown: this.#sameId(this.#sameCreated(prefix)), channel: this.#choice(0).channel(text.name) };
  }

  #diverge(): void {
    this.stopped = { kind: 'diverged', text: DIVERGED };
  }
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 48 && byte <= 57;
}

/** True for a chat's first event, which has a role and no text yet. */
function hasRole(choices: readonly Fields[]): boolean {
  return choices.every(({ delta }) => isRecord(delta) && typeof delta['role'] === 'string' && !delta['content']);
}
