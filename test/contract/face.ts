/** A client's view of one engine over HTTP, for contract tests. */
import {
  createEngineServer,
  type EngineCore,
  type EngineServerOptions,
  type HandOffTicket,
  type PromptReport,
} from '../../src/engines/index.ts';
import { systemClock } from '../../src/shared/index.ts';

export interface Face {
  readonly core: EngineCore;
  readonly url: string;
  /** Messages logged at `warn` or `error`. */
  readonly complaints: string[];
  close(): Promise<void>;
}

export async function startFace(core: EngineCore, options: Partial<EngineServerOptions> = {}): Promise<Face> {
  const complaints: string[] = [];
  const complain = (_fields: object, message: string) => void complaints.push(message);
  const logger = { info: () => {}, warn: complain, error: complain };
  const server = createEngineServer({ core, logger, clock: systemClock, ...options });
  const { url } = await server.listen('127.0.0.1', 0);
  const close = async () => {
    await core.close();
    await server.close();
  };
  return { core, url, complaints, close };
}

export type Json = Record<string, unknown>;

export function post(
  face: Face,
  path: string,
  body: Json | string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Response> {
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify({ model: face.core.info.model, ...body });
  return fetch(`${face.url}${path}`, { method: 'POST', body: text, headers: { 'content-type': 'application/json', ...headers } });
}

export interface Choice {
  readonly text?: string;
  readonly message?: { readonly content: string };
  readonly delta?: { readonly role?: string; readonly content?: string };
  readonly logprobs: unknown;
  readonly finish_reason: string | null;
  readonly token_ids?: number[];
}

export interface Answer {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly model: string;
  readonly choices: Choice[];
  readonly usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  } | null;
  readonly kv_transfer_params?: Json;
}

export interface Refusal {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string };
}

/** @throws when the body is not what the caller expects is its own fault: the cast is the one place where a test trusts the wire. */
export async function jsonOf<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

export interface Stream {
  readonly report: PromptReport;
  readonly events: Answer[];
  readonly errors: Refusal[];
  readonly done: boolean;
  readonly text: string;
  readonly tokens: number[];
  readonly finish: string | null;
  /** What each event with token ids brought, in order: where a stream may break and be resumed. */
  readonly steps: readonly { readonly ids: readonly number[]; readonly text: string }[];
}

const textOf = (choices: readonly Choice[]) => choices.map((choice) => choice.text ?? choice.delta?.content ?? '').join('');

export function parseStream(body: string, report: string | null): Stream {
  const events: Answer[] = [];
  const errors: Refusal[] = [];
  const tokens: number[] = [];
  const steps: { ids: number[]; text: string }[] = [];
  let ids: number[] = [];
  let done = false;
  for (const line of body.split('\n')) {
    if (line.startsWith(': ')) ids = line.slice(2).split(',').map(Number);
    if (!line.startsWith('data: ')) continue;
    if (line === 'data: [DONE]') done = true;
    else if (line.startsWith('data: {"error"')) errors.push(JSON.parse(line.slice(6)) as Refusal);
    else {
      const event = JSON.parse(line.slice(6)) as Answer;
      events.push(event);
      tokens.push(...ids);
      if (ids.length > 0) steps.push({ ids, text: textOf(event.choices) });
      ids = [];
    }
  }
  const choices = events.flatMap((event) => event.choices);
  return {
    report: JSON.parse(report ?? 'null') as PromptReport,
    events,
    errors,
    done,
    text: textOf(choices),
    steps,
    tokens,
    finish: choices.map((choice) => choice.finish_reason).find((reason) => reason !== null) ?? null,
  };
}

export async function stream(face: Face, path: string, body: Json, headers: Record<string, string> = {}): Promise<Stream> {
  const response = await post(face, path, { ...body, stream: true }, { 'x-sluice-tokens': '1', ...headers });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`status ${response.status}: ${text}`);
  return parseStream(text, response.headers.get('x-sluice-report'));
}

export async function prefill(face: Face, body: Json): Promise<{ ticket: HandOffTicket; report: PromptReport; object: string }> {
  const response = await post(face, '/v1/completions', body, { 'x-sluice-leg': 'prefill' });
  if (response.status !== 200) throw new Error(`status ${response.status}: ${await response.text()}`);
  return jsonOf(response);
}

/** Waits until `holds`, looking again after each turn of the event loop and a moment. */
export async function until(holds: () => boolean, what: string, withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
