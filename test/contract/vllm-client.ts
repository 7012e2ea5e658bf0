/** A client of one vLLM over HTTP, for contract tests. */
export type Json = Record<string, unknown>;

export const COMPLETIONS = '/v1/completions';
export const CHAT = '/v1/chat/completions';

/** As a router asks a prefill instance. */
export const KEEP = {
  do_remote_decode: true,
  do_remote_prefill: false,
  remote_engine_id: null,
  remote_block_ids: null,
  remote_host: null,
  remote_port: null,
};

export interface Choice {
  readonly index: number;
  readonly text?: string;
  readonly message?: { readonly role: string; readonly content: string };
  readonly delta?: { readonly role?: string; readonly content?: string };
  readonly logprobs: unknown;
  readonly finish_reason: string | null;
  readonly stop_reason?: string | null;
  readonly token_ids: number[] | null;
  readonly prompt_token_ids?: number[] | null;
}

export interface Answer {
  readonly id: string;
  readonly object: string;
  readonly choices: Choice[];
  readonly usage?: Json & { completion_tokens: number; prompt_tokens_details: { cached_tokens: number } | null };
  readonly kv_transfer_params?: Json | null;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  /** Null when the body is none. */
  readonly json: unknown;
}

export interface Streamed {
  readonly status: number;
  readonly headers: Headers;
  readonly raw: string;
  readonly events: Answer[];
  readonly text: string;
  readonly done: boolean;
  /** Milliseconds until the head, and until the end. */
  readonly headMs: number;
  readonly endMs: number;
}

export interface Sent {
  readonly method?: 'GET' | 'POST' | undefined;
  readonly headers?: Record<string, string> | undefined;
  /** Text goes out as it is. */
  readonly body?: Json | string | undefined;
}

export const keysOf = (value: unknown) => Object.keys(value ?? {});
export const textOf = ({ choices }: Answer) =>
  choices.map(({ text, message, delta }) => text ?? message?.content ?? delta?.content ?? '').join('');

const LOOK_EVERY_MS = 20;

export class VllmClient {
  readonly #url: string;
  model = '';

  constructor(url: string) {
    this.#url = url;
  }

  async learnModel(): Promise<void> {
    const { json } = await this.send('/v1/models', { method: 'GET' });
    this.model = (json as { data: { id: string }[] }).data[0]?.id ?? '';
  }

  async send(path: string, { method = 'POST', headers = {}, body }: Sent): Promise<Reply> {
    const text = typeof body === 'string' ? body.replaceAll('MODEL', this.model) : JSON.stringify(body);
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: text }),
    });
    const answer = await response.text();
    return { status: response.status, headers: response.headers, json: answer === '' ? null : JSON.parse(answer) };
  }

  post(path: string, body: Json, headers: Record<string, string> = {}): Promise<Reply> {
    return this.send(path, { headers, body: { model: this.model, ...body } });
  }

  /** @throws Error when it is not answered with 200 */
  async whole(path: string, body: Json): Promise<Answer> {
    const { status, json } = await this.post(path, body);
    if (status !== 200) throw new Error(`${status}: ${JSON.stringify(json)}`);
    return json as Answer;
  }

  /** @param leaveAfter events after which the client goes away */
  async stream(path: string, body: Json, headers: Record<string, string> = {}, leaveAfter = Number.POSITIVE_INFINITY): Promise<Streamed> {
    const startedAt = performance.now();
    const leaving = new AbortController();
    const response = await fetch(`${this.#url}${path}`, {
      method: 'POST',
      signal: leaving.signal,
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model: this.model, stream: true, ...body }),
    });
    const headMs = performance.now() - startedAt;
    let raw = '';
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      raw += chunk;
      if (raw.split('\n\n').length > leaveAfter) break;
    }
    leaving.abort();
    const lines = raw.split('\n\n').filter((line) => line.startsWith('data: {"id"'));
    const events = lines.map((line) => JSON.parse(line.slice(6)) as Answer);
    const text = events.map(textOf).join('');
    const endMs = performance.now() - startedAt;
    return { status: response.status, headers: response.headers, raw, events, text, done: raw.endsWith('data: [DONE]\n\n'), headMs, endMs };
  }

  /** The sum of a metric's samples, named without `vllm:`; 0 when there are none yet. */
  async metric(name: string): Promise<number> {
    const response = await fetch(`${this.#url}/metrics`);
    const samples = (await response.text()).split('\n').filter((line) => line.startsWith(`vllm:${name}{`));
    return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /** Looks until it is so; fails with what was waited for. */
  async until(what: string, check: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
    const giveUpAt = performance.now() + withinMs;
    while (!(await check())) {
      if (performance.now() > giveUpAt) throw new Error(`not within ${Math.round(withinMs)} ms: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}
