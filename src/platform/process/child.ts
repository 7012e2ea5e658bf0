/**
 * One child process of ours: started with an IPC channel, its last words kept, ended by SIGTERM and, past a deadline, SIGKILL.
 * It runs in a process group of its own, so that Ctrl-C on the terminal reaches the parent alone, which then drains in order.
 * When the parent dies the channel closes and the child ends itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { type Cancel, type Clock, lineRing } from '../../shared/index.ts';
import { lastWords } from '../lastwords.ts';

export interface ChildOptions {
  readonly executable: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly onMessage: (message: unknown) => void;
  /** Once; `why` says how it ended with its last words. */
  readonly onExit: (why: string) => void;
  readonly onLine: (line: string) => void;
}

export interface Child {
  readonly pid: number | null;
  readonly running: boolean;
  /** Idempotent. SIGKILL follows after `killAfterMs`; a shorter time given later counts from then. */
  end(killAfterMs: number): void;
  kill(): void;
  /** Resolves when the process is gone. */
  readonly gone: Promise<void>;
}

const KEPT_LINES = 50;
const KEPT_LINE_CHARS = 2000;
const LAST_WORDS = 3;

export function startChild(options: ChildOptions): Child {
  const child = spawn(options.executable, options.args, {
    env: { ...options.env },
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const ring = lineRing(KEPT_LINES, KEPT_LINE_CHARS, options.onLine);
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => ring.write(chunk));
  child.on('message', options.onMessage);

  let running = true;
  let cancelKill: Cancel = () => {};
  const gone = new Promise<void>((resolve) => {
    const ended = (how: string) => {
      if (!running) return;
      running = false;
      cancelKill();
      options.onExit([how, ...lastWords(ring.last(LAST_WORDS))].join(': '));
      resolve();
    };
    child.on('error', (error) => ended(`could not be started (${error.message})`));
    // `close` and not `exit`: the last words have been read by then.
    child.on('close', (code, signal) => ended(signal === null ? `exit code ${code}` : `killed by ${signal}`));
  });

  return {
    pid: child.pid ?? null,
    get running() {
      return running;
    },
    end(killAfterMs) {
      if (!running) return;
      child.kill('SIGTERM');
      cancelKill();
      cancelKill = options.clock.after(killAfterMs, () => kill(child));
    },
    kill: () => {
      if (running) kill(child);
    },
    gone,
  };
}

function kill(child: ChildProcess): void {
  child.kill('SIGKILL');
}
