/** A server of tests, of whatever kind: a program in a folder of its own, started again at the same address, ended by process id. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningProgram, startProgram } from '../cluster/program.ts';
import { requireServer, type ServerProgram } from './programs.ts';

export interface TestServer {
  readonly pid: number;
  /** SIGSTOP and SIGCONT. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** SIGKILL; what was in memory is lost. */
  readonly kill: () => Promise<void>;
  /** The same address again, empty. */
  readonly restart: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface ServerRecipe {
  readonly program: ServerProgram;
  readonly args: readonly string[];
  /** Goes when the server is stopped. */
  readonly folder: string;
  /** What of it a server that is started again must not find. */
  readonly kept?: string;
  /** Whether it answers. Ends by itself within some seconds. */
  readonly answers: () => Promise<boolean>;
  /** Called before it is ended. */
  readonly leave?: () => void;
}

const UP_MS = 10_000;

/** Resolves when it answers; one that does not is ended, and the error has its last words. */
export async function startServer({ program, args, folder, kept, answers, leave }: ServerRecipe): Promise<TestServer> {
  const start = () => startProgram(requireServer(program), args, join(folder, 'log'));
  let running: RunningProgram = start();
  const up = async () => {
    try {
      await until(`${program} answers`, async () => running.running && (await answers()));
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}: ${running.lastWords()}`);
    }
  };
  const stop = async () => {
    leave?.();
    await running.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await up();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    get pid() {
      return running.pid;
    },
    signal: (signal) => running.signal(signal),
    kill: () => running.kill(),
    async restart() {
      await running.kill();
      if (kept !== undefined) rmSync(kept, { recursive: true, force: true });
      running = start();
      await up();
    },
    stop,
  };
}

/** A folder for a server, or for what one needs besides, for example certificates. */
export function serverFolder(): string {
  return mkdtempSync(join(tmpdir(), 'sluice-server-'));
}

/** Asks again until it holds; throws when it does not within `limitMs`. */
export async function until(what: string, holds: () => Promise<boolean>, limitMs = UP_MS): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${limitMs} ms`);
    await delay(10);
  }
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
