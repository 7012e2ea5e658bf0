/** Starts our own processes the way a platform does: `sluice engine` and `sluice router` with an IPC channel. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Child, Children } from './children.ts';
import { cacheFolder } from './peers.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const START_LIMIT_MS = 60_000;
const READY_LIMIT_MS = 60_000;
const POLL_MS = 50;

export interface Engine {
  readonly id: string;
  readonly role: 'prefill' | 'decode' | 'mixed';
  readonly url: string;
  readonly port: number;
  readonly incarnation: string;
  readonly transfer: { readonly host: string; readonly port: number };
  readonly child: Child;
}

export interface EngineOptions {
  readonly type: 'sim' | 'llamacpp';
  readonly role: Engine['role'];
  readonly id: string;
  readonly cores: readonly number[] | null;
  /** Further flags of `sluice engine`. */
  readonly flags: readonly string[];
}

export const MODEL = 'bench';

export async function startEngine(children: Children, options: EngineOptions): Promise<Engine> {
  const { type, role, id } = options;
  const model = type === 'llamacpp' ? ['--model', await tinyModel()] : [];
  const own = ['--type', type, '--role', role, '--instance', id, '--model-name', MODEL, '--host', '127.0.0.1', '--port', '0'];
  const command = [process.execPath, MAIN, 'engine', ...own, ...model, ...options.flags];
  const child = children.start(`engine ${id}`, command, { cores: options.cores, ipc: true });
  const hello = await listening(child);
  const url = text(hello, 'url');
  const transfer = hello['transfer'];
  if (!isRecord(transfer)) throw new Error(`engine ${id} did not say where its transfer server is`);
  return {
    id,
    role,
    url,
    port: Number(new URL(url).port),
    incarnation: text(hello, 'incarnation'),
    transfer: { host: text(transfer, 'host'), port: Number(transfer['port']) },
    child,
  };
}

/** The built-in tiny model, written into the cache on first use. */
async function tinyModel(): Promise<string> {
  const { ensureTinyModel } = await import('../../src/engines/llamacpp/index.ts');
  return ensureTinyModel(path.dirname(cacheFolder()));
}

export interface Router {
  readonly port: number;
  readonly adminUrl: string;
  readonly child: Child;
}

export interface RouterOptions {
  readonly cores: readonly number[] | null;
  /** Flags of Node itself, for profiling. */
  readonly nodeFlags: readonly string[];
  readonly flags: readonly string[];
}

/** Starts a router over the engines; resolves when a request went through it. */
export async function startRouter(children: Children, engines: readonly Engine[], options: RouterOptions): Promise<Router> {
  const own = ['--model', MODEL, '--host', '127.0.0.1', '--port', '0', '--admin-port', '0'];
  const command = [process.execPath, ...options.nodeFlags, MAIN, 'router', ...own, ...options.flags];
  const child = children.start('router', command, { cores: options.cores, ipc: true });
  const hello = await listening(child);
  const adminUrl = text(hello, 'adminUrl');
  const instances = engines.map(({ id, incarnation, role, url, transfer }) => ({ id, incarnation, role, url, transfer, draining: false }));
  const put = await fetch(`${adminUrl}/admin/instances`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ generation: 1, model: MODEL, instances }),
  });
  if (!put.ok) throw new Error(`router refused the instance list: ${put.status} ${await put.text()}`);
  const router = { port: Number(new URL(text(hello, 'url')).port), adminUrl, child };
  await untilAnswers(child, router.port);
  return router;
}

/** Asks for one token until it comes. Throws when the process ends or the limit passes, with the last reason. */
export async function untilAnswers(child: Child, port: number, modelName = MODEL): Promise<void> {
  const until = performance.now() + READY_LIMIT_MS;
  let reason = 'no answer yet';
  while (performance.now() < until) {
    if (!child.running()) throw new Error(`${child.name} ended: ${child.tail().slice(-2000)}`);
    try {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: modelName, prompt: 'are you there', max_tokens: 1 }),
        signal: AbortSignal.timeout(5000),
      });
      const body = await answer.text();
      if (answer.ok) return;
      reason = `${answer.status}: ${body.slice(0, 200)}`;
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`${child.name} does not answer (${reason}); its last output: ${child.tail().slice(-2000)}`);
}

function listening(child: Child): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) => reject(new Error(`${child.name} ${reason}: ${child.tail().slice(-1000)}`));
    const timer = setTimeout(() => fail(`did not start within ${START_LIMIT_MS / 1000} s`), START_LIMIT_MS);
    child.process.on('message', (message: unknown) => {
      if (!isRecord(message) || message['type'] !== 'listening') return;
      clearTimeout(timer);
      resolve(message);
    });
    // After `close` its output is whole.
    child.process.once('close', () => {
      clearTimeout(timer);
      fail('ended while starting');
    });
  });
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(record: Record<string, unknown>, key: string): string {
  const value = record[key];
  if (typeof value !== 'string') throw new Error(`expected a string '${key}' in ${JSON.stringify(record)}`);
  return value;
}
