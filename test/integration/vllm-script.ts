/**
 * A scripted vLLM with its agent: the feed on one port, OpenAI's paths as vLLM 0.32.0 speaks them on another. What it generates
 * follows from the prompt alone, so that any two say the same; params that do not fit a request end its engine, as they do in vLLM.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { EngineInfo, EngineLoad, Role } from '../../src/engines/index.ts';
import { type Json, MODEL } from './router-fixture.ts';

const BLOCK = 16;
/** One text of all scripted engines: quotes, escapes, several bytes a character and ends of words in odd places. */
const PIECES = ['Say "', 'hi', '"\n', ' – ', 'ünï', '😀😀', ' \\n', '\u0007', 'the', ' end', ' of', ' it', ' {"text":"', 'x"}', ',', ' 水'];
const COSTS = {
  prefillFixed: 1,
  prefillPerToken: 1,
  prefillPerTokenContext: 0,
  stepFixed: 1,
  stepPerSequence: 0,
  stepPerContextToken: 0,
  pullFixed: 1,
  pullPerMiB: 1,
};
const MEMORY = { usedBytes: 0, cachedBytes: 0, capacityBytes: 2 ** 30 };

export interface Asked {
  readonly leg: 'prefill' | 'decode' | 'alone';
  readonly body: Json;
  readonly headers: IncomingMessage['headers'];
  /** The router's own readiness probe. */
  readonly probe: boolean;
  /** The router closed the connection before the answer was complete. */
  cancelled: boolean;
}

/** What happens to a request instead of a good answer. */
export type Mishap =
  | { readonly kind: 'none' }
  | { readonly kind: 'status'; readonly status: number; readonly body: string }
  /** The body of a stream breaks off after so many bytes. */
  | { readonly kind: 'cut'; readonly bytes: number }
  /** Never answers, or, of a stream, sends its head and no event. */
  | { readonly kind: 'hang' }
  /** The event with the error comes before the event number `after`. */
  | { readonly kind: 'error'; readonly after: number }
  /** Ends with `abort` after so many events. */
  | { readonly kind: 'abort'; readonly after: number }
  /** Says something else from piece number `after` on. */
  | { readonly kind: 'other'; readonly after: number }
  /** From then on nothing comes from it, until it is thawed; of a stream so many bytes had come. */
  | { readonly kind: 'freeze'; readonly bytes: number }
  /** The same, but its agent lives and says so. */
  | { readonly kind: 'stick' }
  /** A prefill answer whose head comes at once, and the rest so much later. */
  | { readonly kind: 'late'; readonly ms: number }
  /** A prefill answer that comes so much later. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** A prefill answer with other params. */
  | { readonly kind: 'params'; readonly change: (params: Json) => unknown };

export const NONE: Mishap = { kind: 'none' };
export const INTERNAL = '{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}';
const DEAD =
  '{"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause.","type":"InternalServerError","param":null,"code":500}}';

/** Params given out and not yet used, with the prompt that they are for; shared by all engines. */
const given = new Map<string, { readonly prompt: string; readonly params: string }>();
let count = 0;

export class ScriptedVllm {
  readonly id: string;
  readonly role: Role;
  readonly asked: Asked[] = [];
  /** Why its engine core ended; null = it lives. */
  dead: string | null = null;
  mishap: (asked: Asked) => Mishap = () => NONE;
  /** How often its feed was asked for. */
  feeds = 0;
  /** What it says that a prompt token costs, milliseconds. */
  tokenMs = 1;
  /** As its agent tells: null = its agent does not tell. */
  leaseMs: number | null = 30_000;
  /** Pieces of text that one event carries. */
  merge = 1;
  readonly incarnation = `life-${Math.random()}`;
  readonly #feed: Server;
  readonly #engine: Server;
  readonly #created: number;
  /** As a stopped process: no line of the feed, no byte of an answer, but for what is done here when it goes on. */
  #held: (() => void)[] | null = null;
  #stuckAt: number | null = null;
  #requestUrl = '';

  constructor(id: string, role: Role) {
    this.id = id;
    this.role = role;
    count += 1;
    this.#created = 1_795_000_000 + count;
    this.#feed = createServer((request, response) => this.#tell(request, response));
    this.#engine = createServer((request, response) => void this.#answer(request, response));
  }

  /** @returns where its feed is */
  async listen(): Promise<string> {
    this.#requestUrl = await listening(this.#engine);
    return listening(this.#feed);
  }

  get engineHost(): string {
    return this.#requestUrl.slice('http://'.length);
  }

  close(): void {
    for (const server of [this.#feed, this.#engine]) {
      server.close();
      server.closeAllConnections();
    }
  }

  get frozen(): boolean {
    return this.#held !== null;
  }

  thaw(): void {
    const held = this.#held ?? [];
    this.#held = null;
    this.#stuckAt = null;
    for (const run of held) run();
  }

  /** Requests of clients. */
  get served(): readonly Asked[] {
    return this.asked.filter(({ probe }) => !probe);
  }

  #tell(request: IncomingMessage, response: ServerResponse): void {
    if (this.#held !== null) return;
    if (request.url === '/sluice/info') return void response.end(JSON.stringify(this.#info()));
    response.writeHead(200);
    this.feeds += 1;
    const { incarnation } = this;
    response.write(`${JSON.stringify({ type: 'snapshot', incarnation, seq: 0, tiers: { hbm: [] } })}\n`);
    const tell = () => {
      const quietMs = this.#stuckAt === null ? 0 : performance.now() - this.#stuckAt;
      if (this.#held === null) response.write(`${JSON.stringify({ type: 'load', load: { ...load(this.tokenMs), quietMs } })}\n`);
    };
    tell();
    const timer = setInterval(tell, 200);
    response.on('close', () => clearInterval(timer));
  }

  #info(): EngineInfo {
    const identity = { model: 'm', revision: 'r', tokenizer: 't', rope: '', adapter: '', dtype: 'bf16', layout: 'l', blockTokens: BLOCK };
    return {
      instance: this.id,
      incarnation: this.incarnation,
      role: this.role,
      engine: 'vllm',
      dialect: 'nixl',
      simulated: true,
      requestUrl: this.#requestUrl,
      model: MODEL,
      contextTokens: 4096,
      maxSequences: 16,
      identity,
      bytesPerBlock: 1000,
      tokenizer: { kind: 'bytes4' },
      transfer: { host: '127.0.0.1', port: 1 },
      leaseMs: this.leaseMs,
    };
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = JSON.parse(Buffer.concat(pieces).toString()) as Json;
    const params = body['kv_transfer_params'] as Json | undefined;
    const leg = params === undefined ? 'alone' : params['do_remote_decode'] === true ? 'prefill' : 'decode';
    const asked: Asked = { leg, body, headers: request.headers, probe: promptOf(body).includes('sluice opens'), cancelled: false };
    this.asked.push(asked);
    response.on('close', () => {
      asked.cancelled = !response.writableFinished;
    });
    // Read by nobody: its kernel took it.
    if (this.#held !== null) return;
    if (leg === 'decode' && params) this.#check(params, promptOf(body));
    const mishap: Mishap = this.dead === null ? this.mishap(asked) : { kind: 'status', status: 500, body: DEAD };
    if (mishap.kind === 'status') return void response.writeHead(mishap.status, { 'content-type': 'application/json' }).end(mishap.body);
    if (mishap.kind === 'freeze') this.#held = [];
    if (mishap.kind === 'stick') this.#stuckAt = performance.now();
    if (leg === 'prefill') return this.#prefill(asked, mishap, response);
    if (body['stream'] === true) return this.#stream(asked, mishap, response);
    this.#whole(asked, mishap, response);
  }

  /** As in vLLM: params that do not fit end the engine core. */
  #check(params: Json, prompt: string): void {
    const key = String(params['remote_request_id']);
    const kept = given.get(key);
    if (!kept) this.dead = `params that were never given, or twice: ${key}`;
    else if (kept.prompt !== prompt) this.dead = 'params of another prompt';
    else if (kept.params !== JSON.stringify(params)) this.dead = 'params that are not as they were given';
    given.delete(key);
  }

  #prefill({ body, headers }: Asked, mishap: Mishap, response: ServerResponse): void {
    if (mishap.kind === 'hang' || mishap.kind === 'stick') return;
    const prompt = promptOf(body);
    const tokens = tokensOf(prompt);
    count += 1;
    const lease = `${idOf(headers, body)}-${count}`;
    const offered: Json = {
      do_remote_prefill: true,
      do_remote_decode: false,
      remote_engine_id: this.incarnation,
      remote_request_id: lease,
      remote_block_ids: [Array.from({ length: Math.ceil(tokens / BLOCK) }, (_, index) => index + 7)],
      remote_host: '127.0.0.1',
      remote_port: 5600,
      tp_size: 1,
      remote_num_tokens: tokens,
      transfer_mode: 'pull',
      remote_prefill_cached_tokens: 32,
    };
    given.set(lease, { prompt, params: JSON.stringify(offered) });
    const answer = { ...this.#frame(headers, body), choices: [this.#choice(body, 'x', 'length')], usage: usageOf(tokens, 1, 32) };
    const params = mishap.kind === 'params' ? mishap.change(offered) : offered;
    const whole = JSON.stringify({ ...answer, kv_transfer_params: params });
    if (mishap.kind === 'late') response.flushHeaders();
    if (mishap.kind === 'late' || mishap.kind === 'slow') setTimeout(() => response.end(whole), mishap.ms);
    else this.#unlessFrozen(() => response.end(whole));
  }

  #whole({ leg, body, headers }: Asked, mishap: Mishap, response: ServerResponse): void {
    if (mishap.kind === 'hang') return;
    const tokens = tokensOf(promptOf(body));
    const limit = Number(body['max_tokens'] ?? 16);
    const finish = mishap.kind === 'abort' ? 'abort' : 'length';
    const choices = Array.from({ length: Number(body['n'] ?? 1) }, (_, index) => ({
      ...this.#choice(body, piecesOf(body, NONE).join(''), finish),
      index,
    }));
    const usage = usageOf(tokens, limit, leg === 'decode' ? tokens - 1 : 0);
    const answer = { ...this.#frame(headers, body), choices: mishap.kind === 'other' ? [] : choices, usage, kv_transfer_params: null };
    this.#unlessFrozen(() => response.end(JSON.stringify(answer)));
  }

  #stream({ leg, body, headers }: Asked, mishap: Mishap, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    if (mishap.kind === 'hang' || mishap.kind === 'stick') return;
    const text = this.#events(body, headers, mishap, leg).join('');
    const bytes = Buffer.from(text);
    if (mishap.kind === 'freeze') {
      response.write(bytes.subarray(0, mishap.bytes));
      return this.#unlessFrozen(() => response.end(bytes.subarray(mishap.bytes)));
    }
    if (mishap.kind !== 'cut') return void response.end(bytes);
    // The pieces of a broken stream come one by one too.
    response.write(bytes.subarray(0, mishap.bytes), () => response.destroy());
  }

  #unlessFrozen(run: () => void): void {
    if (this.#held === null) run();
    else this.#held.push(run);
  }

  #events(body: Json, headers: IncomingMessage['headers'], mishap: Mishap, leg: Asked['leg']): string[] {
    const frame = this.#frame(headers, body, true);
    const event = (fields: object) => `data: ${JSON.stringify({ ...frame, ...fields })}\n\n`;
    const pieces = piecesOf(body, mishap);
    const events: string[] = [];
    if (isChat(body))
      events.push(event({ choices: [{ index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }] }));
    for (let at = 0; at < pieces.length; at += this.merge) {
      const some = pieces.slice(at, at + this.merge);
      const last = at + this.merge >= pieces.length;
      events.push(event({ choices: [this.#delta(body, some, at, last ? 'length' : null)] }));
    }
    if ((mishap.kind === 'error' || mishap.kind === 'abort') && mishap.after < events.length) {
      const lead = events.slice(0, mishap.after);
      const end =
        mishap.kind === 'error' ? `data: ${INTERNAL.replaceAll(':', ': ')}\n\n` : event({ choices: [this.#delta(body, [''], 0, 'abort')] });
      return [...lead, end, 'data: [DONE]\n\n'];
    }
    const tokens = tokensOf(promptOf(body));
    const wanted = (body['stream_options'] as Json | undefined)?.['include_usage'] === true;
    const usage = usageOf(tokens, pieces.length, leg === 'decode' ? tokens - 1 : 0);
    return [...events, ...(wanted ? [event({ choices: [], usage })] : []), 'data: [DONE]\n\n'];
  }

  #frame(headers: IncomingMessage['headers'], body: Json, isStream = false): Json {
    const chat = isStream ? 'chat.completion.chunk' : 'chat.completion';
    return { id: idOf(headers, body), object: isChat(body) ? chat : 'text_completion', created: this.#created, model: MODEL };
  }

  #choice(body: Json, text: string, finish: string): Json {
    const said = isChat(body) ? { message: { role: 'assistant', content: text } } : { text };
    return { index: 0, ...said, logprobs: null, finish_reason: finish, stop_reason: null };
  }

  #delta(body: Json, pieces: readonly string[], at: number, finish: string | null): Json {
    const text = pieces.join('');
    const said = isChat(body) ? { delta: { content: text } } : { text };
    return { index: 0, ...said, logprobs: logprobsOf(body, pieces, at), finish_reason: finish, stop_reason: null, token_ids: null };
  }
}

function logprobsOf(body: Json, pieces: readonly string[], at: number): unknown {
  if (body['logprobs'] === undefined) return null;
  if (isChat(body)) return { content: pieces.map((token, index) => ({ token, logprob: -(at + index), bytes: [], top_logprobs: [] })) };
  return { text_offset: pieces.map((_, index) => at + index), token_logprobs: pieces.map((_, index) => -(at + index)), tokens: pieces };
}

function piecesOf(body: Json, mishap: Mishap): string[] {
  const limit = Number(body['max_tokens'] ?? 16);
  const word = (index: number) => PIECES[(index + tokensOf(promptOf(body))) % PIECES.length] ?? '';
  return Array.from({ length: limit }, (_, index) => (mishap.kind === 'other' && index >= mishap.after ? 'zz' : word(index)));
}

function load(tokenMs: number): EngineLoad {
  const fields = { running: 0, waiting: 0, pendingPrefillTokens: 0, contextTokens: 0, leases: 0, draining: false };
  return { ...fields, kv: { hbm: MEMORY, host: MEMORY }, costs: { ...COSTS, prefillPerToken: tokenMs } };
}

function isChat(body: Json): boolean {
  return body['messages'] !== undefined;
}

function promptOf(body: Json): string {
  return JSON.stringify(body['prompt'] ?? body['messages']);
}

/** Near enough to what the router counts. */
function tokensOf(prompt: string): number {
  return Math.ceil(Buffer.byteLength(prompt) / 4);
}

function usageOf(prompt: number, completion: number, cached: number): Json {
  const details = { prompt_tokens_details: { cached_tokens: cached } };
  return { prompt_tokens: prompt, total_tokens: prompt + completion, completion_tokens: completion, ...details };
}

function idOf(headers: IncomingMessage['headers'], body: Json): string {
  return `${isChat(body) ? 'chatcmpl' : 'cmpl'}-${String(headers['x-request-id'])}`;
}

function listening(server: Server): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(`http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`);
    });
  });
}
