/** Clients of streams that are moved, and what must be true afterwards. */
import { type Engine, type Fleet, json, MODEL, type RouterSeat, until } from './fleet.ts';

let count = 0;
/** About so many tokens, never the same. */
export const prompt = (tokens: number) => `Case ${count++}. ${'The water stands at the gate and waits. '.repeat(Math.ceil(tokens / 26))}`;

/** Long enough for what is done in the middle of a stream, on a machine that decodes a thousand tokens a second too. */
export const GREEDY = { temperature: 0, max_tokens: 600 };
export const SEEDED = { temperature: 0.8, top_p: 0.9, seed: 11, max_tokens: 600 };

export interface Said {
  readonly events: readonly object[];
  readonly done: boolean;
  /** Why it broke off; null when it did not. */
  readonly error: string | null;
}

interface Watching {
  readonly id?: string;
  /** Called for every event with the count so far. */
  readonly onEvent?: (count: number) => void;
}

export async function ask(url: string, body: object, { id, onEvent }: Watching = {}): Promise<Said> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(id ? { 'x-request-id': id } : {}) },
    body: JSON.stringify({ model: MODEL, stream: true, ignore_eos: true, stream_options: { include_usage: true }, ...body }),
  });
  if (!response.ok) throw new Error(await response.text());
  const events: object[] = [];
  let pending = '';
  let done = false;
  let error: string | null = null;
  try {
    for await (const chunk of response.body ?? []) {
      const parts = (pending + Buffer.from(chunk).toString('utf8')).split('\n\n');
      pending = parts.pop() ?? '';
      for (const part of parts) {
        if (part === 'data: [DONE]') done = true;
        else {
          // What differs between any two requests.
          const { id: _id, created: _created, ...event } = JSON.parse(part.replace(/^data: /, ''));
          events.push(event);
          onEvent?.(events.length);
        }
      }
    }
  } catch (thrown) {
    error = String(thrown);
  }
  return { events, done, error };
}

/**
 * Where a client sees a difference, in short; null = nowhere. How much of the prompt was cached is left out: it depends on who was asked
 * before.
 */
export function difference(said: Said, expected: Said): string | null {
  const [ours, theirs] = [linesOf(said), linesOf(expected)];
  const at = ours.findIndex((line, i) => line !== theirs[i]);
  if (at < 0 && ours.length === theirs.length) return null;
  const first = at < 0 ? ours.length : at;
  return `line ${first} of ${ours.length} (expected ${theirs.length}): ${ours[first]} instead of ${theirs[first]}`;
}

function linesOf({ events, done, error }: Said): string[] {
  return [...events.map((event) => JSON.stringify(event).replace(/"cached_tokens":\d+/, '')), `done ${done}, error ${error}`];
}

export interface Drained {
  readonly moved: number;
  readonly others: number;
  readonly left: number | null;
  readonly aborted: Readonly<Record<string, number>>;
}

export async function drain({ adminUrl }: RouterSeat, engine: Engine, timeoutMs = 10_000): Promise<Drained> {
  const response = await fetch(`${adminUrl}/admin/instances/${engine.id}/drain?timeoutMs=${timeoutMs}`, { method: 'POST' });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as Drained;
}

export async function undrain({ adminUrl }: RouterSeat, { id }: Engine): Promise<void> {
  await fetch(`${adminUrl}/admin/instances/${id}/undrain`, { method: 'POST' });
}

export async function undrainAll(fleet: Fleet): Promise<void> {
  for (const engine of fleet.engines) await undrain(fleet, engine);
}

/** Takes places of an engine, past the router. Returns how to give them back. */
export async function occupy(fleet: Fleet, engine: Engine, places: number): Promise<() => void> {
  const stop = new AbortController();
  for (let i = 0; i < places; i++) {
    const body = JSON.stringify({ model: MODEL, prompt: `busy ${i}`, max_tokens: 6000, ignore_eos: true, stream: true });
    // Its end is our doing.
    fetch(`${engine.url}/v1/completions`, { method: 'POST', body, signal: stop.signal })
      .then((answer) => answer.text())
      .catch(() => '');
  }
  await until('all places are taken', async () => (await fleet.load(engine)).running === places);
  return () => stop.abort();
}

/** Streams `body` through the router and does something to the decode instance that has it after `at` events. */
export async function disturbed<T>(
  fleet: Fleet,
  { id, body, at }: { id: string; body: object; at: number },
  act: (engine: Engine) => Promise<T>,
) {
  let acted: Promise<T> | null = null;
  const said = await ask(fleet.routerUrl, body, {
    id,
    onEvent: (events) => {
      if (events >= at) acted ??= fleet.busiest().then(act);
    },
  });
  const outcome = await (acted as Promise<T> | null);
  return { said, outcome, record: await fleet.record(id) };
}

/** Nothing of any request is left on routers and on the engines that live. */
export async function nothingHeld(fleet: Fleet, ...others: readonly RouterSeat[]): Promise<void> {
  for (const { adminUrl } of [fleet, ...others])
    await until('the router holds nothing', async () => {
      const left = await json<Readonly<Record<string, number>>>(`${adminUrl}/admin/leftovers`);
      return Object.values(left).every((count) => count === 0);
    });
  await enginesHoldNothing(fleet);
}

export async function enginesHoldNothing(fleet: Fleet): Promise<void> {
  for (const engine of fleet.engines) {
    if (isGone(engine)) continue;
    await until(`${engine.id} holds nothing`, async () => {
      const { leases, running, waiting } = await fleet.load(engine);
      return leases + running + waiting === 0;
    });
  }
}

export function isGone({ process: { exitCode, signalCode } }: Engine): boolean {
  return exitCode !== null || signalCode !== null;
}
