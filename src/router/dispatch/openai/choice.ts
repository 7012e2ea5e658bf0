/**
 * One choice of a stream, as far as the client has it. On a stream that comes again it takes out of each event what went out before:
 * text by bytes, log-probabilities and token ids by entries.
 */
import { Channel, Tally } from './channel.ts';
import { isRecord } from './json.ts';

type Fields = Record<string, unknown>;

/** `same`: forward it as it is; `changed`: as it is now; `known`: the client has all of it; `diverged`: it is not what the client has. */
export type Taken = 'same' | 'changed' | 'known' | 'diverged';

const TEXT = 'text';
const ROLE = 'role';

export class StreamedChoice {
  readonly #channels = new Map<string, Channel>();
  readonly #logprobs = new Tally();
  readonly #ids = new Tally();
  #promptIds = false;
  #role = false;
  /** Sent to the client. */
  finished = false;

  channel(name: string): Channel {
    const known = this.#channels.get(name);
    if (known) return known;
    const made = new Channel();
    this.#channels.set(name, made);
    return made;
  }

  rewind(): void {
    for (const channel of this.#channels.values()) channel.rewind();
    this.#logprobs.rewind();
    this.#ids.rewind();
  }

  /** Takes a choice of an event, changed in place. @param again the client may have some of it */
  take(choice: Fields, again: boolean): Taken {
    const shears = new Shears();
    const { delta } = choice;
    this.#text(choice, TEXT, shears);
    if (isRecord(delta)) this.#delta(delta, shears);
    this.#lists(choice, shears);
    const ends = choice['finish_reason'] !== null && choice['finish_reason'] !== undefined;
    if (shears.diverged || (ends && this.#lacks())) return 'diverged';
    if (ends && this.finished) return 'known';
    this.finished ||= ends;
    if (again && !ends && !shears.left) return 'known';
    return shears.cut ? 'changed' : 'same';
  }

  /** True when the stream comes again and has not yet come to where the client is. */
  #lacks(): boolean {
    return [...this.#channels.values()].some((channel) => channel.left > 0);
  }

  #delta(delta: Fields, shears: Shears): void {
    if (typeof delta[ROLE] === 'string') {
      if (this.#role) delete delta[ROLE];
      shears.took(this.#role, !this.#role);
      this.#role = true;
    }
    for (const name of Object.keys(delta)) if (name !== ROLE) this.#text(delta, name, shears);
    const calls: unknown = delta['tool_calls'];
    if (!Array.isArray(calls)) return;
    for (const call of calls as readonly unknown[]) if (isRecord(call)) this.#call(call, shears);
  }

  /** An id is made up anew each time, so the first one stays. */
  #call(call: Fields, shears: Shears): void {
    const { index, function: called } = call;
    if (!isRecord(called)) return;
    const known = this.channel(`tool ${String(index)} name`).left > 0;
    this.#text(called, 'name', shears, `tool ${String(index)} name`);
    this.#text(called, 'arguments', shears, `tool ${String(index)} arguments`);
    if (!known) return;
    delete call['id'];
    delete call['type'];
    delete called['name'];
  }

  #text(fields: Fields, name: string, shears: Shears, channelName = name): void {
    const value = fields[name];
    if (typeof value !== 'string' || value === '') return;
    const channel = this.channel(channelName);
    const text = Buffer.from(value);
    const rest = channel.left > 0 ? channel.skip(text) : text;
    if (rest === null) {
      shears.diverged = true;
      return;
    }
    if (rest.length < text.length) fields[name] = Buffer.from(rest).toString('utf8');
    if (rest.length > 0) channel.sent(rest);
    shears.took(rest.length < text.length, rest.length > 0);
  }

  #lists(choice: Fields, shears: Shears): void {
    const { logprobs } = choice;
    if (isRecord(logprobs)) cutLists(logprobs, this.#logprobs, shears);
    const ids: unknown = choice['token_ids'];
    if (Array.isArray(ids)) {
      const known = this.#ids.take(ids.length);
      if (known > 0) choice['token_ids'] = ids.slice(known);
      shears.took(known > 0, known < ids.length);
    }
    if (!Array.isArray(choice['prompt_token_ids'])) return;
    if (this.#promptIds) choice['prompt_token_ids'] = null;
    shears.took(this.#promptIds, !this.#promptIds);
    this.#promptIds = true;
  }
}

/** All lists of log-probabilities have one entry per token: `content` of a chat, four lists side by side of a completion. */
function cutLists(logprobs: Fields, tally: Tally, shears: Shears): void {
  const lists = Object.entries(logprobs).filter((entry): entry is [string, unknown[]] => Array.isArray(entry[1]));
  const count = Math.max(0, ...lists.map(([, list]) => list.length));
  const known = tally.take(count);
  if (known > 0) for (const [name, list] of lists) logprobs[name] = list.slice(known);
  shears.took(known > 0, known < count);
}

/** What was cut out of an event, and whether something is left. */
class Shears {
  cut = false;
  left = false;
  diverged = false;

  took(cut: boolean, left: boolean): void {
    this.cut ||= cut;
    this.left ||= left;
  }
}
