/** Runs one command of an install: bounded in time, killed as a whole, with its last lines kept. */
import { spawn } from 'node:child_process';
import { type Clock, lineRing } from '../../../shared/index.ts';

export interface CommandOptions {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly limitMs: number;
  readonly clock: Clock;
  /** Ends the command and all that it started. */
  readonly signal: AbortSignal;
  readonly onStart: (pid: number) => void;
  readonly onLine: (line: string) => void;
}

/** `why` is null when it ended with 0. */
export interface CommandResult {
  readonly why: string | null;
  /** Newest lines of both streams, oldest first. */
  readonly lines: readonly string[];
}

const MAX_LINES = 40;
const MAX_LINE_CHARS = 2_000;
/** From SIGTERM to SIGKILL. */
const KILL_MS = 2_000;

/** Never rejects. */
export function runCommand({ command, env, limitMs, clock, signal, onStart, onLine }: CommandOptions): Promise<CommandResult> {
  const [file = '', ...args] = command;
  const ring = lineRing(MAX_LINES, MAX_LINE_CHARS, onLine);
  return new Promise((resolve) => {
    let reason: string | null = null;
    const child = spawn(file, args, { env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let cancelKill = () => {};
    const end = (why: string) => {
      reason ??= why;
      kill(child.pid, 'SIGTERM');
      cancelKill = clock.after(KILL_MS, () => kill(child.pid, 'SIGKILL'));
    };
    const onAbort = () => end('it was interrupted');
    const cancelLimit = clock.after(limitMs, () => end(`it took longer than ${Math.round(limitMs / 60_000)} minutes`));
    const settle = (why: string | null) => {
      cancelLimit();
      cancelKill();
      signal.removeEventListener('abort', onAbort);
      resolve({ why: reason ?? why, lines: ring.last(MAX_LINES) });
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (chunk: string) => ring.write(chunk.replaceAll('\r', '\n')));
    }
    child.on('spawn', () => onStart(child.pid ?? 0));
    child.on('error', (error) => settle(error.message));
    child.on('close', (code, killed) => settle(code === 0 ? null : `it ended with ${killed ?? code}`));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** The group, since pip and Python start processes of their own. */
function kill(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Already gone.
  }
}
