/** Real processes: llama.cpp engines and a router, started as `sluice up` starts them, to be killed as the world kills them. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EngineLoad, Role } from '../../src/engines/index.ts';
import { ensureTinyModel } from '../../src/engines/llamacpp/index.ts';
import type { RequestRecord } from '../../src/router/index.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
export const MODEL = 'tiny';

export interface Engine {
  readonly id: string;
  readonly role: Role;
  readonly url: string;
  readonly transfer: { readonly host: string; readonly port: number };
  readonly incarnation: string;
  readonly process: ChildProcess;
}

interface Listening {
  readonly url: string;
  readonly adminUrl: string;
  readonly transfer: Engine['transfer'];
  readonly incarnation: string;
}

export interface FleetOptions {
  readonly roles: readonly Role[];
  readonly type?: 'llamacpp' | 'sim';
  readonly engineArgs?: readonly string[];
  /** Opens every process to V8's inspector, for `liveBytes`. */
  readonly inspect?: boolean;
  /** JSON of `sluice router --config`. */
  readonly config?: object;
}

/** Where a router listens. */
export interface RouterSeat {
  readonly routerUrl: string;
  readonly adminUrl: string;
}

export class Fleet implements RouterSeat {
  readonly engines: Engine[] = [];
  routerUrl = '';
  adminUrl = '';
  router: ChildProcess | null = null;
  /** Further ones. */
  readonly #seats: RouterSeat[] = [];
  /** The url under which the router reaches an engine, where it is not the engine's own. */
  readonly #relayed = new Map<string, string>();
  readonly #options: FleetOptions;
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-fleet-'));
  readonly #children: ChildProcess[] = [];
  readonly #inspectors = new Map<ChildProcess, string>();
  readonly #routerArgs = ['router', '--model', MODEL];
  #generation = 0;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { roles, config } = this.#options;
    this.engines.push(...(await Promise.all(roles.map((role, i) => this.startEngine(`${role}-${i}`, role)))));
    this.#routerArgs.push(...(config ? ['--config', JSON.stringify(config)] : []));
    await this.restartRouter();
  }

  /** Another one; the last one is gone, or its end is somebody else's matter. */
  async restartRouter(): Promise<void> {
    const { child, message } = await this.#spawn(this.#routerArgs);
    this.router = child;
    this.routerUrl = message.url;
    this.adminUrl = message.adminUrl;
    await this.publish();
    await until('the router is ready', async () => (await fetch(`${this.routerUrl}/readyz`)).ok);
  }

  /** One more beside it, told of the same engines. */
  async addRouter(): Promise<RouterSeat> {
    const { url: routerUrl, adminUrl } = (await this.#spawn(this.#routerArgs)).message;
    this.#seats.push({ routerUrl, adminUrl });
    await this.publish();
    await until('the other router is ready', async () => (await fetch(`${routerUrl}/readyz`)).ok);
    return { routerUrl, adminUrl };
  }

  async startEngine(id: string, role: Role): Promise<Engine> {
    const { type = 'llamacpp', engineArgs = [] } = this.#options;
    const model = type === 'llamacpp' ? ['--model', ensureTinyModel(this.#folder)] : [];
    const args = ['engine', '--type', type, '--role', role, '--instance', id, '--model-name', MODEL, ...model, ...engineArgs];
    const { child, message } = await this.#spawn(args);
    const { url, transfer, incarnation } = message;
    return { id, role, url, transfer, incarnation, process: child };
  }

  /** Tells every router which engines there are, with the urls that `relay` put in their place. */
  async publish(): Promise<void> {
    const instances = this.engines.map(({ id, role, url, transfer, incarnation }) => ({
      id,
      role,
      transfer,
      incarnation,
      draining: false,
      url: this.#relayed.get(id) ?? url,
    }));
    const body = JSON.stringify({ generation: ++this.#generation, model: MODEL, instances });
    for (const { adminUrl } of [this, ...this.#seats]) {
      const how = { method: 'PUT', headers: { 'content-type': 'application/json' }, body };
      const response = await fetch(`${adminUrl}/admin/instances`, how);
      if (!response.ok) throw new Error(await response.text());
    }
  }

  /** Puts something between the router and an engine. */
  async relay(id: string, url: string): Promise<void> {
    this.#relayed.set(id, url);
    await this.publish();
    await this.#connected(id);
  }

  /** kill -9, and a new engine of the same name in its place once the old one is gone. */
  async replace(engine: Engine): Promise<void> {
    await this.kill(engine);
    this.#relayed.delete(engine.id);
    this.engines[this.engines.indexOf(engine)] = await this.startEngine(engine.id, engine.role);
    await this.publish();
    await this.#connected(engine.id);
  }

  #connected(id: string): Promise<void> {
    return until(`${id} is connected`, async () => (await this.instances()).find((one) => one.id === id)?.connected === true);
  }

  async kill(engine: Engine): Promise<void> {
    if (engine.process.exitCode !== null || engine.process.signalCode !== null) return;
    const gone = new Promise((resolve) => engine.process.once('exit', resolve));
    engine.process.kill('SIGKILL');
    await gone;
  }

  of(role: Role): Engine[] {
    return this.engines.filter((engine) => engine.role === role);
  }

  /** Takes the mixed engine, the one to compare texts with, out of the router's list; it runs on until `stop`. */
  async setAside(): Promise<Engine> {
    const at = this.engines.findIndex(({ role }) => role === 'mixed');
    const [alone] = at < 0 ? [] : this.engines.splice(at, 1);
    if (!alone) throw new Error('the fleet has no mixed engine to compare with');
    await this.publish();
    return alone;
  }

  /**
   * The decode instance that has a client's request: the one that is busy, once the router's own short requests have gone from the others;
   * one of the busy ones when several stay so.
   */
  async busiest(): Promise<Engine> {
    const end = performance.now() + 2_000;
    for (;;) {
      const busy = (await this.instances()).filter(({ inFlight }) => inFlight > 0).map(({ id }) => id);
      const found = this.of('decode').filter(({ id }) => busy.includes(id));
      const [first] = found;
      if (first && (found.length === 1 || performance.now() > end)) return first;
      if (performance.now() > end) throw new Error('no decode instance has a request');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async instances(): Promise<{ id: string; connected: boolean; inFlight: number }[]> {
    const { instances } = await json<{ instances: { id: string; connected: boolean; inFlight: number }[] }>(
      `${this.adminUrl}/admin/instances`,
    );
    return instances;
  }

  record(id: string): Promise<RequestRecord> {
    return json(`${this.adminUrl}/admin/requests/${id}`);
  }

  leftovers(): Promise<{ reservations: number; openLegs: number; inFlight: number; queued: number }> {
    return json(`${this.adminUrl}/admin/leftovers`);
  }

  /** What an engine says of its load right now. */
  async load({ url }: Pick<Engine, 'url'>): Promise<EngineLoad> {
    const response = await fetch(`${url}/sluice/events`);
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString('utf8');
      const line = text.split('\n').find((candidate) => candidate.startsWith('{"type":"load"'));
      if (!line || !text.includes(`${line}\n`)) continue;
      const { load }: { load: EngineLoad } = JSON.parse(line);
      return load;
    }
    throw new Error('the engine told no load');
  }

  /** Memory that a process really needs: what is on its heap and in its buffers after a full garbage collection. */
  async liveBytes(child: ChildProcess): Promise<number> {
    const socket = new WebSocket(this.#inspectors.get(child) ?? '');
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', () => reject(new Error('no inspector')));
    });
    let id = 0;
    const call = (method: string, params: object = {}) =>
      new Promise<{ result?: { result?: { value?: unknown } } }>((resolve) => {
        const mine = ++id;
        socket.addEventListener('message', ({ data }) => {
          const answer = JSON.parse(String(data));
          if (answer.id === mine) resolve(answer);
        });
        socket.send(JSON.stringify({ id: mine, method, params }));
      });
    await call('HeapProfiler.collectGarbage');
    await call('HeapProfiler.collectGarbage');
    const expression = '(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())';
    const answer = await call('Runtime.evaluate', { expression });
    socket.close();
    return Number(answer.result?.result?.value);
  }

  async stop(): Promise<void> {
    const ended = this.#children.map(
      (child) =>
        new Promise<void>((resolve) =>
          child.exitCode !== null || child.signalCode !== null ? resolve() : child.once('exit', () => resolve()),
        ),
    );
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(ended);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #spawn(args: readonly string[]): Promise<{ child: ChildProcess; message: Listening }> {
    return new Promise((resolve, reject) => {
      const execArgv = this.#options.inspect ? ['--inspect=127.0.0.1:0'] : [];
      const child = fork(MAIN, [...args], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv });
      this.#children.push(child);
      let said = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString('utf8')).slice(-4000);
        const inspector = /Debugger listening on (ws:\S+)/.exec(said)?.[1];
        if (inspector !== undefined) this.#inspectors.set(child, inspector);
      });
      child.once('message', (message) => resolve({ child, message: message as Listening }));
      child.once('exit', (code, signal) => reject(new Error(`sluice ${args[0]} ended with ${code ?? signal}: ${said}`)));
    });
  }
}

export async function json<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** Looks until it is so; fails after 20 s with what was waited for. */
export async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 20_000;
  for (;;) {
    if (await check()) return;
    if (performance.now() > giveUpAt) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A TCP relay that can be told to break after so many bytes from the far side. */
export class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(target: { host: string; port: number }, options: { cutAfter: number; onCut: () => void }) {
    this.#server = createServer((near) => {
      const far = connect(target);
      let passed = 0;
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => socket.destroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far);
      far.on('data', (chunk: Buffer) => {
        const rest = options.cutAfter - passed;
        passed += chunk.length;
        near.write(chunk.subarray(0, Math.max(0, rest)));
        if (passed < options.cutAfter) return;
        options.onCut();
        far.destroy();
      });
    });
  }

  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
