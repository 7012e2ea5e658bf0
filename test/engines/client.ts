/** A client's view of a vLLM or of the router in front of it: whole answers, streams, and vLLM's own counters. */

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details?: { readonly cached_tokens: number } | null;
}

export interface Answer {
  readonly id: string;
  readonly choices: readonly {
    readonly index: number;
    readonly text?: string;
    readonly message?: { readonly role: string; readonly content: string | null };
    readonly finish_reason: string | null;
    readonly logprobs: unknown;
    readonly token_ids?: readonly number[] | null;
  }[];
  readonly usage: Usage;
}

export interface Streamed {
  readonly status: number;
  readonly requestId: string | null;
  readonly text: string;
  readonly finish: string | null;
  readonly usage: Usage | null;
  readonly error: { readonly message: string; readonly code: unknown } | null;
  readonly done: boolean;
  readonly ids: ReadonlySet<string>;
  readonly created: ReadonlySet<number>;
  readonly roles: number;
}

type Json = Readonly<Record<string, unknown>>;

const LIMIT_MS = 120_000;

export function pathOf(body: Json): string {
  return 'messages' in body ? '/v1/chat/completions' : '/v1/completions';
}

export function post(url: string, body: Json, signal: AbortSignal = AbortSignal.timeout(LIMIT_MS)): Promise<Response> {
  return fetch(`${url}${pathOf(body)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });
}

/** @throws with status and body for any status but 200. */
export async function whole(url: string, body: Json): Promise<Answer> {
  const response = await post(url, body);
  if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
  return (await response.json()) as Answer;
}

interface StreamEvent {
  readonly id?: string;
  readonly created?: number;
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly role?: string; readonly content?: string | null };
    readonly finish_reason?: string | null;
  }[];
  readonly usage?: Usage | null;
  readonly error?: { readonly message: string; readonly code: unknown };
}

/** Reads a stream to its end, however it ends. @param onText called with the text so far, for tests that act in the middle. */
export async function streamed(url: string, body: Json, onText: (text: string) => void = () => undefined): Promise<Streamed> {
  const response = await post(url, { ...body, stream: true, stream_options: { include_usage: true } });
  const result = {
    status: response.status,
    requestId: response.headers.get('x-request-id'),
    text: '',
    finish: null as string | null,
    usage: null as Usage | null,
    error: null as Streamed['error'],
    done: false,
    ids: new Set<string>(),
    created: new Set<number>(),
    roles: 0,
  };
  if (response.status !== 200) {
    result.error = ((await response.json()) as StreamEvent).error ?? { message: 'no error in the body', code: null };
    return result;
  }
  const take = (line: string) => {
    if (!line.startsWith('data: ')) return;
    if (line === 'data: [DONE]') {
      result.done = true;
      return;
    }
    const event = JSON.parse(line.slice(6)) as StreamEvent;
    if (event.error) result.error = event.error;
    if (event.usage) result.usage = event.usage;
    if (event.id !== undefined) result.ids.add(event.id);
    if (event.created !== undefined) result.created.add(event.created);
    for (const choice of event.choices ?? []) {
      result.text += choice.text ?? choice.delta?.content ?? '';
      if (choice.delta?.role !== undefined) result.roles += 1;
      result.finish = choice.finish_reason ?? result.finish;
    }
    onText(result.text);
  };
  try {
    let rest = '';
    for await (const piece of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) take(line);
    }
  } catch {
    // The connection was closed without its end, as the router does after an error event: `done` stays false.
  }
  return result;
}

/** One value of a page of metrics, over all its label sets. */
export async function metric(url: string, name: string): Promise<number> {
  const page = await (await fetch(`${url}/metrics`)).text();
  const lines = page.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  if (lines.length === 0) throw new Error(`${url}/metrics has no ${name}`);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** xorshift32: the same prompts in every run, so that a failure can be looked at. */
export function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4_294_967_296;
  };
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz ,.ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

/** Text of as many tokens: the tiny model has a token per byte. */
export function textOf(random: () => number, tokens: number): string {
  let text = '';
  while (text.length < tokens) text += LETTERS[Math.floor(random() * LETTERS.length)];
  return text;
}
