/** A router over simulated SGLang instances, each behind a gate that sees what it is asked and can spoil it. */
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  createEngineServer,
  createSimEngine,
  type EngineServer,
  type Role,
  type SimCore,
  type SimOptions,
  simFace,
} from '../../src/engines/index.ts';
import type { RequestRecord, RunningRouter } from '../../src/router/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { type Json, LONG_PROMPT, MODEL, recordAt, type Streamed, startTestRouter, stream, until } from './router-fixture.ts';

/** Long enough for a machine that has other things to do, short enough that a test can wait for one. */
export const DEADLINES = { prefillMs: 3000, pullMs: 2000, firstTokenMs: 5000, idleMs: 4000, totalMs: 30_000 };
const TIMEOUT_MS = 60_000;
/** Begins every prompt of a client; the router has some of its own. */
const MARK = 'Case ';

export type Mishap =
  | { readonly kind: 'none' }
  /** Says this in place of the engine, which does not hear of it. */
  | { readonly kind: 'status'; readonly status: number; readonly body: object }
  /** Breaks the connection; the engine does not hear of it. */
  | { readonly kind: 'drop' }
  /** Says nothing; the engine does not hear of it. */
  | { readonly kind: 'hang' }
  /** The engine works on it; its answer is held back, until `spoil` makes it a 500. */
  | { readonly kind: 'held' }
  /** The engine works on it, and is lost after so many milliseconds. */
  | { readonly kind: 'lost'; readonly ms: number }
  /** Passes so many pieces of the answer on, and breaks the connection. */
  | { readonly kind: 'cut'; readonly pieces: number };

const NONE: Mishap = { kind: 'none' };

export interface Asked {
  readonly by: string;
  readonly path: string;
  readonly body: Json;
  /** Whoever asked gave it up before its answer was complete. */
  givenUp: boolean;
}

export class GatedSglang {
  readonly id: string;
  readonly role: Role;
  readonly core: SimCore;
  /** Clients' requests. */
  readonly asked: Asked[] = [];
  readonly aborted: string[] = [];
  readonly #held: ServerResponse[] = [];
  mishap: (asked: Asked) => Mishap = () => NONE;
  url = '';
  readonly #engine: EngineServer;
  readonly #gate: Server;
  #target = '';

  constructor(id: string, core: SimCore) {
    this.id = id;
    this.role = core.info.role;
    this.core = core;
    const logger = createLogger({ name: id, level: 'silent', format: 'json' });
    this.#engine = createEngineServer({ core, logger, clock: systemClock, ...simFace(core, systemClock) });
    this.#gate = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy());
    });
  }

  async listen(): Promise<void> {
    this.#target = (await this.#engine.listen('127.0.0.1', 0)).url;
    await new Promise<void>((resolve) => void this.#gate.listen(0, '127.0.0.1', resolve));
    const address = this.#gate.address();
    this.url = `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`;
  }

  async close(): Promise<void> {
    this.#gate.close();
    this.#gate.closeAllConnections();
    await this.core.close();
    await this.#engine.close();
  }

  /** @returns how many answers were held back */
  spoil(): number {
    const held = this.#held.splice(0);
    for (const response of held) response.writeHead(500).end();
    return held.length;
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const mishap = this.#note(request.url ?? '', body, response);
    switch (mishap.kind) {
      case 'hang':
        return;
      case 'drop':
        response.destroy();
        return;
      case 'status':
        response.writeHead(mishap.status, { 'content-type': 'application/json' }).end(JSON.stringify(mishap.body));
        return;
      case 'held':
        (await this.#ask(request, body, response)).resume().on('end', () => this.#held.push(response));
        return;
      case 'lost':
        setTimeout(() => response.destroy(), mishap.ms);
        return await this.#forward(request, body, response);
      case 'cut':
        return await this.#forward(request, body, response, mishap.pieces);
      case 'none':
        return await this.#forward(request, body, response);
    }
  }

  #note(path: string, body: Buffer, response: ServerResponse): Mishap {
    const text = body.toString('utf8');
    if (path === '/abort_request') this.aborted.push(String((JSON.parse(text) as Json)['rid']));
    if (!path.startsWith('/v1/') || !text.includes(MARK)) return NONE;
    const asked: Asked = { by: this.id, path, body: JSON.parse(text) as Json, givenUp: false };
    this.asked.push(asked);
    const mishap = this.mishap(asked);
    response.on('close', () => {
      asked.givenUp = !response.writableFinished;
    });
    return mishap;
  }

  async #forward(request: IncomingMessage, body: Buffer, response: ServerResponse, pieces = Number.POSITIVE_INFINITY): Promise<void> {
    const answer = await this.#ask(request, body, response);
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    response.flushHeaders();
    let passed = 0;
    for await (const piece of answer) {
      response.write(piece);
      passed += 1;
      if (passed >= pieces) return void setTimeout(() => response.destroy(), 5);
    }
    response.end();
  }

  #ask({ method = 'GET', url = '/', headers }: IncomingMessage, body: Buffer, response: ServerResponse): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const onward = httpRequest(`${this.#target}${url}`, { method, headers }, resolve);
      onward.on('error', reject);
      response.on('close', () => onward.destroy());
      onward.end(body);
    });
  }
}

export class BootstrapBed {
  readonly engines: readonly GatedSglang[];
  readonly router: RunningRouter;
  /** The instance that had the mishap. */
  struck: string | null = null;
  #prompts = 0;

  private constructor(engines: readonly GatedSglang[], router: RunningRouter) {
    this.engines = engines;
    this.router = router;
  }

  static async start(
    counts: Readonly<Partial<Record<Role, number>>>,
    options: { config?: object; engine?: Partial<SimOptions> } = {},
  ): Promise<BootstrapBed> {
    const wanted = (['prefill', 'decode', 'mixed'] as const).flatMap((role) =>
      Array.from({ length: counts[role] ?? 0 }, (_, index) => ({ role, id: `${role}-${index}` })),
    );
    const engines = await Promise.all(
      wanted.map(async ({ role, id }) => {
        const common = { instance: id, role, modelName: MODEL, clock: systemClock, dialect: 'bootstrap' } as const;
        const engine = new GatedSglang(id, await createSimEngine({ ...common, ...options.engine }));
        await engine.listen();
        return engine;
      }),
    );
    const bed = new BootstrapBed(engines, await startTestRouter(options.config ?? {}));
    const instances = engines.map(({ id, role, core, url }) => {
      const { incarnation, transfer } = core.info;
      return { id, role, incarnation, transfer, url, draining: false };
    });
    await bed.admin('PUT', '/admin/instances', { generation: 1, model: MODEL, instances });
    await until(async () => (await fetch(`${bed.router.url}/readyz`)).status === 200);
    await until(async () => ((await bed.admin('GET', '/admin/instances'))['instances'] as Json[]).every((one) => one['proven'] === true));
    return bed;
  }

  async close(): Promise<void> {
    await this.router.stop(0);
    for (const engine of this.engines) await engine.close();
  }

  /** All that clients' requests led to, in instances of this role. */
  asked(role: Role): readonly Asked[] {
    return this.engines.filter((engine) => engine.role === role).flatMap((engine) => engine.asked);
  }

  get aborted(): readonly string[] {
    return this.engines.flatMap((engine) => engine.aborted);
  }

  /** The first instance of this role to be asked has the mishap, each time or once; the others are well. */
  strike(role: Role, mishap: Mishap | ((asked: Asked) => Mishap), once = false): void {
    this.struck = null;
    let times = 0;
    for (const engine of this.engines.filter((one) => one.role === role)) {
      engine.mishap = (asked) => {
        this.struck ??= engine.id;
        if (this.struck === engine.id) times += 1;
        if (this.struck !== engine.id || (once && times > 1)) return NONE;
        return typeof mishap === 'function' ? mishap(asked) : mishap;
      };
    }
  }

  heal(): void {
    for (const engine of this.engines) {
      engine.mishap = () => NONE;
      engine.asked.length = 0;
      engine.aborted.length = 0;
    }
  }

  prompt(text = LONG_PROMPT): string {
    this.#prompts += 1;
    return `${MARK}${this.#prompts}. ${text}`;
  }

  stream(path: string, body: object, onEvent?: (count: number) => void): Promise<Streamed> {
    return stream(this.router.url, path, body, onEvent);
  }

  async post(
    path: string,
    body: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; json: Json; id: string }> {
    const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, signal: AbortSignal.timeout(TIMEOUT_MS) };
    const answer = await fetch(`${this.router.url}${path}`, { ...init, body: JSON.stringify({ model: MODEL, ...body }) });
    return { status: answer.status, json: (await answer.json()) as Json, id: String(answer.headers.get('x-request-id')) };
  }

  async admin(method: 'GET' | 'PUT', path: string, body?: unknown): Promise<Json> {
    const init = body === undefined ? { method } : { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return (await (await fetch(`${this.router.adminUrl}${path}`, init)).json()) as Json;
  }

  record(id: string | null): Promise<RequestRecord> {
    return recordAt(this.router.adminUrl, id);
  }

  /** Nothing is held in the router, and no instance works on anything or waits for anybody. */
  async nothingLeft(): Promise<void> {
    let left = '';
    await until(
      async () => {
        const held = await this.admin('GET', '/admin/leftovers');
        const busy = this.engines.map(({ id, core }) => {
          const { running, waiting, leases } = core.load();
          return { id, count: running + waiting + leases + (core.rooms?.size ?? 0) };
        });
        left = JSON.stringify({ held, busy });
        return Object.values(held).every((count) => count === 0) && busy.every(({ count }) => count === 0);
      },
      () => `an end without leftovers (${left})`,
    );
  }
}
