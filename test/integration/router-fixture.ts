/** A router over simulated engines in this process, with gates in front of the engines that a test can close, cut or silence. */
import { randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createEngineServer, createSimEngine, type EngineCore, type Role, type SimOptions } from '../../src/engines/index.ts';
import { loadTokenizer } from '../../src/engines/tokenizers/index.ts';
import { parseConfig, type RequestRecord, type RouterKv, type RunningRouter, startRouter } from '../../src/router/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';

export const MODEL = 'sim-model';

/** What a gate does with the next generation request; `pass` when it says nothing. */
export type Fault =
  | { readonly kind: 'pass' }
  /** Accepts and never answers. */
  | { readonly kind: 'hang' }
  /** Closes the connection at once. */
  | { readonly kind: 'drop' }
  /** Passes so many bytes of the answer, then closes (or, with `silent`, passes nothing more and stays open). */
  | { readonly kind: 'cut'; readonly bytes: number; readonly silent?: boolean }
  /** Answers this instead of the engine. */
  | { readonly kind: 'answer'; readonly text: string };

export interface Seen {
  readonly head: string;
  readonly leg: 'prefill' | 'whole';
}

/** A TCP relay in front of one engine. Only `POST /v1/…` requests meet faults; feeds pass. */
export class Gate {
  readonly seen: Seen[] = [];
  fault: (seen: Seen) => Fault = () => ({ kind: 'pass' });
  /** What the engine holds is not told through here; how loaded it is, is. */
  hidesBlocks = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(enginePort: number) {
    this.#server = createServer((client) => this.#relay(client, enginePort));
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address();
        resolve(`http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`);
      });
    });
  }

  /** Like the death of the engine: nothing listens any more and every connection breaks. */
  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #relay(client: Socket, enginePort: number): void {
    const engine = connect(enginePort, '127.0.0.1');
    let left = Number.POSITIVE_INFINITY;
    let hold = false;
    let silent = false;
    for (const socket of [client, engine]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        client.destroy();
        engine.destroy();
      });
    }
    client.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      if (text.startsWith('POST /v1/')) {
        const seen: Seen = { head: text, leg: /^x-sluice-leg: prefill/m.test(text) ? 'prefill' : 'whole' };
        this.seen.push(seen);
        const fault = this.fault(seen);
        left = fault.kind === 'cut' ? fault.bytes : Number.POSITIVE_INFINITY;
        silent = fault.kind === 'cut' && fault.silent === true;
        if (fault.kind === 'drop') return void client.destroy();
        if (fault.kind === 'answer') return void client.write(fault.text);
        hold = fault.kind === 'hang';
      }
      if (this.hidesBlocks && text.startsWith('GET /sluice/events HTTP')) return;
      if (!hold) engine.write(bytes);
    });
    engine.on('data', (bytes) => {
      const passed = bytes.subarray(0, left);
      left -= passed.length;
      if (passed.length > 0) client.write(passed);
      if (left === 0 && !silent) client.end(() => client.destroy());
    });
  }
}

export interface EngineHandle {
  readonly id: string;
  readonly role: Role;
  readonly core: EngineCore;
  readonly gate: Gate;
  /** Through the gate. */
  readonly url: string;
  /** Past the gate. */
  readonly directUrl: string;
  close(): Promise<void>;
}

export async function startEngine(id: string, role: Role, options: Partial<SimOptions> = {}): Promise<EngineHandle> {
  const logger = createLogger({ name: id, level: 'silent', format: 'json' });
  const core = await createSimEngine({ instance: id, role, modelName: MODEL, clock: systemClock, ...options });
  const server = createEngineServer({ core, logger, clock: systemClock });
  const { url: directUrl, port } = await server.listen('127.0.0.1', 0);
  const gate = new Gate(port);
  const url = await gate.listen();
  const close = async () => {
    gate.close();
    await core.close();
    await server.close();
  };
  return { id, role, core, gate, url, directUrl, close };
}

export class Bed {
  readonly engines: EngineHandle[] = [];
  readonly router: RunningRouter;
  #generation = 1;
  #stopping: Promise<void> | null = null;

  constructor(engines: readonly EngineHandle[], router: RunningRouter) {
    this.engines.push(...engines);
    this.router = router;
  }

  engine(id: string): EngineHandle {
    const found = this.engines.find((each) => each.id === id);
    if (!found) throw new Error(`no engine ${id}`);
    return found;
  }

  /** Gives the router the list of all engines; `draining` names those that take no new requests. */
  publish(draining: readonly string[] = [], engines: readonly EngineHandle[] = this.engines): Promise<Json> {
    const instances = engines.map(({ id, role, url, core }) => {
      const { incarnation, transfer } = core.info;
      return { id, role, url, incarnation, transfer, draining: draining.includes(id) };
    });
    this.#generation += 1;
    return this.admin('PUT', '/admin/instances', { generation: this.#generation, model: MODEL, instances });
  }

  async admin(method: 'GET' | 'PUT', path: string, body?: unknown): Promise<Json> {
    const init = body === undefined ? { method } : { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const answer = await fetch(`${this.router.adminUrl}${path}`, { ...init, signal: AbortSignal.timeout(5000) });
    return (await answer.json()) as Json;
  }

  async ready(): Promise<void> {
    await until(async () => (await fetch(`${this.router.url}/readyz`)).status === 200);
  }

  /** Every instance is proven, and by what the router knows none has anything to do: the next request goes where an idle bed has it go. */
  async settled(): Promise<void> {
    const all = async (path: string) => (await this.admin('GET', path))['instances'] as readonly Json[];
    await until(async () => (await all('/admin/instances')).every((one) => one['proven'] === true));
    await until(async () => (await all('/admin/top')).every((one) => one['running'] === 0 && one['inFlight'] === 0));
  }

  post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
    const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
    return fetch(`${this.router.url}${path}`, { ...init, signal: AbortSignal.timeout(20_000) });
  }

  /** Nothing is held in the router, and no engine has a request or a lease. */
  async nothingLeft(): Promise<void> {
    let left: object = {};
    const onEngines = () =>
      this.engines.map(({ id, core }) => {
        const { running, waiting, leases } = core.load();
        return { id, running, waiting, leases };
      });
    const isClean = async () => {
      left = this.#stopping === null ? await this.admin('GET', '/admin/leftovers') : {};
      const busy = onEngines().some(({ running, waiting, leases }) => running + waiting + leases > 0);
      return Object.values(left).every((count) => count === 0) && !busy;
    };
    await until(isClean, () => `an end without leftovers (${JSON.stringify({ left, engines: onEngines() })})`);
  }

  /** Begins the router's end; later calls wait for the first. */
  stop(graceMs: number): Promise<void> {
    this.#stopping ??= this.router.stop(graceMs);
    return this.#stopping;
  }

  async close(): Promise<void> {
    await this.stop(0);
    await Promise.all(this.engines.map((engine) => engine.close()));
  }
}

export type Json = Readonly<Record<string, unknown>>;

export interface BedOptions {
  readonly prefill?: number;
  readonly decode?: number;
  readonly mixed?: number;
  readonly config?: object;
  readonly engine?: Partial<SimOptions>;
  /** What the router shares with others. */
  readonly kv?: RouterKv;
  /** Of every gate, from the start. */
  readonly hidesBlocks?: boolean;
}

/** Starts everything and waits until every instance is connected. Readiness is not waited for: it takes a probe. */
export async function startBed(options: BedOptions = {}): Promise<Bed> {
  const counts: readonly [Role, number][] = [
    ['prefill', options.prefill ?? 0],
    ['decode', options.decode ?? 0],
    ['mixed', options.mixed ?? 0],
  ];
  const wanted = counts.flatMap(([role, count]) => Array.from({ length: count }, (_, index) => ({ role, id: `${role}-${index}` })));
  const engines = await Promise.all(wanted.map(({ id, role }) => startEngine(id, role, options.engine)));
  for (const { gate } of engines) gate.hidesBlocks = options.hidesBlocks ?? false;
  const bed = new Bed(engines, await startTestRouter(options.config ?? {}, null, options.kv));
  await bed.publish();
  await connected(bed, engines.length);
  return bed;
}

/** @param onLine gets what the router logs */
export function startTestRouter(config: object, onLine: ((line: string) => void) | null = null, kv?: RouterKv): Promise<RunningRouter> {
  const destination = { write: (line: string) => onLine?.(line) };
  const log = createLogger({ name: 'router', level: onLine === null ? 'silent' : 'warn', format: 'json', destination });
  const made = { newId: () => randomUUID(), random: Math.random, loadTokenizer, clock: systemClock, log };
  const options = { model: MODEL, config: parseConfig(JSON.stringify(config)), ...made, ...(kv ? { kv } : {}) };
  return startRouter(options, { host: '127.0.0.1', port: 0, adminHost: '127.0.0.1', adminPort: 0 });
}

/** The record of a request, when it has ended. */
export async function recordAt(adminUrl: string, id: string | null): Promise<RequestRecord> {
  const ask = async () => (await (await fetch(`${adminUrl}/admin/requests/${id}`)).json()) as RequestRecord;
  await until(async () => ((await ask()).outcome ?? null) !== null);
  return ask();
}

export async function connected(bed: Bed, count: number): Promise<void> {
  await until(async () => {
    const { instances } = (await bed.admin('GET', '/admin/instances')) as { instances: readonly { connected: boolean }[] };
    return instances.filter((instance) => instance.connected).length === count;
  });
}

const PATIENCE_MS = 15_000;
const LOOK_MS = 10;

/** Waits for a condition; throws when it does not come about. */
export async function until(condition: () => Promise<boolean> | boolean, what: () => string = () => 'the condition'): Promise<void> {
  const giveUp = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (Date.now() > giveUp) throw new Error(`${what()} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export interface Streamed {
  readonly status: number;
  readonly text: string;
  /** JSON of all data events but [DONE]. */
  readonly events: readonly Json[];
  readonly done: boolean;
  /** True when the connection ended without the end of the body. */
  readonly broken: boolean;
  readonly requestId: string | null;
  readonly raw: string;
}

/** Streams by plain HTTP, so that a broken body is seen as such. `onEvent` is called with the count of events so far. */
export function stream(url: string, path: string, body: object, onEvent: (count: number) => void = () => undefined): Promise<Streamed> {
  return new Promise((resolve, reject) => {
    const payload = JSON.stringify({ model: MODEL, stream: true, ...body });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
    const outgoing = httpRequest(`${url}${path}`, { method: 'POST', agent: false, headers }, (response) => {
      let raw = '';
      let counted = 0;
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        raw += chunk;
        const count = raw.split('\n\n').length - 1;
        // Several may come at once: no count is left out, so that a test may wait for one.
        while (counted < count) {
          counted += 1;
          onEvent(counted);
        }
      });
      response.on('error', () => undefined); // a broken body is what `complete` tells
      response.on('close', () => {
        const id = response.headers['x-request-id'];
        resolve(streamed(response.statusCode ?? 0, raw, !response.complete, typeof id === 'string' ? id : null));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(payload);
  });
}

function streamed(status: number, raw: string, broken: boolean, requestId: string | null): Streamed {
  const lines = raw.split('\n').filter((line) => line.startsWith('data: '));
  const payloads = lines.map((line) => line.slice(6));
  const events = payloads.filter((payload) => payload !== '[DONE]').map((payload) => JSON.parse(payload) as Json);
  return { status, raw, events, text: events.map(textOf).join(''), done: payloads.includes('[DONE]'), broken, requestId };
}

function textOf(event: Json): string {
  const [choice] = (event['choices'] ?? []) as readonly { text?: string; delta?: { content?: string } }[];
  return choice?.text ?? choice?.delta?.content ?? '';
}

/** Long enough that the prefill pool is worth it. */
export const LONG_PROMPT = Array.from({ length: 120 }, (_, index) => `Sentence ${index} of a document that nobody has read yet. `).join('');
