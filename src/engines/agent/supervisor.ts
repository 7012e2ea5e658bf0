/**
 * One life of an engine: its process group from the first process to the last.
 *
 * Invariants
 * - When `ended` has resolved, no process of the group is left.
 * - When this process is gone, however, none is left either (watchdog.ts).
 */
import { spawn } from 'node:child_process';
import { type Cancel, type Clock, type LineRing, lineRing } from '../../shared/index.ts';
import { causeOf } from './reason.ts';
import { startWatchdog } from './watchdog.ts';

export interface SupervisorOptions {
  /** Of the engine, in sentences. */
  readonly title: string;
  readonly executable: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly onLine: (line: string) => void;
}

export interface SupervisedEngine {
  /** Of the first process, which is also the name of the group. 0 when it could not be started. */
  readonly pid: number;
  /** Resolves with why, when the last process is gone. */
  readonly ended: Promise<string>;
  /** Bytes that it has written so far: a sign of life. */
  readonly writtenBytes: number;
  /** SIGTERM to the first process, which ends the others; `kill` follows after `killAfterMs`. Idempotent. */
  end(killAfterMs: number): void;
  /** SIGTERM for all of them, and SIGKILL a moment later. */
  kill(): void;
}

/** Between SIGTERM and SIGKILL for all: what tidies up shared memory is one of them and needs a moment. */
const TIDY_MS = 1_000;
const KEPT_LINES = 200;
const KEPT_LINE_CHARS = 2000;

export function superviseEngine(options: SupervisorOptions): SupervisedEngine {
  const output = lineRing(KEPT_LINES, KEPT_LINE_CHARS, options.onLine);
  const errors = lineRing(KEPT_LINES, KEPT_LINE_CHARS, options.onLine);
  // The engine's own errors are logged to its output; what kills the first process comes on the other stream.
  const lastWords = () => [...output.last(KEPT_LINES), ...errors.last(KEPT_LINES)];
  // Before the engine, so that there is no moment at which nobody watches.
  const watchdog = startWatchdog((why) => options.onLine(`sluice: the process that ends the engine with its agent is gone (${why})`));
  const child = spawn(options.executable, options.args, {
    env: { ...options.env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const group = child.pid ?? 0;
  if (group !== 0) watchdog.watch(group);

  let running = true;
  let writtenBytes = 0;
  let cancelKill: Cancel = () => {};
  const readInto = (ring: LineRing) => (chunk: string) => {
    writtenBytes += chunk.length;
    ring.write(chunk);
  };
  child.stdout.setEncoding('utf8').on('data', readInto(output));
  child.stderr.setEncoding('utf8').on('data', readInto(errors));
  const killAll = () => {
    signalGroup(group, 'SIGTERM');
    cancelKill();
    cancelKill = options.clock.after(TIDY_MS, () => signalGroup(group, 'SIGKILL'));
  };
  // Its other processes hold the pipes too: they go with the first one, and then `close` follows.
  child.on('exit', killAll);

  const ended = new Promise<string>((resolve) => {
    const finish = (how: string) => {
      if (!running) return;
      running = false;
      cancelKill();
      // One that let go of the pipes.
      signalGroup(group, 'SIGKILL');
      watchdog.dismiss();
      resolve(how);
    };
    child.on('error', (error) => finish(couldNotStart(options, error)));
    child.on('close', (code, signal) => finish(`${options.title} ${howItEnded(code, signal, lastWords())}`));
  });

  return {
    pid: group,
    ended,
    get writtenBytes() {
      return writtenBytes;
    },
    end(killAfterMs) {
      if (!running) return;
      child.kill('SIGTERM');
      cancelKill();
      cancelKill = options.clock.after(killAfterMs, killAll);
    },
    kill() {
      if (running) killAll();
    },
  };
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  if (group === 0) return;
  try {
    process.kill(-group, signal);
  } catch (thrown) {
    // None is left.
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ESRCH')) throw thrown;
  }
}

function couldNotStart({ title, executable }: SupervisorOptions, error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return `${title} could not be started: there is no ${executable}`;
  return `${title} could not be started: ${error.message}`;
}

function howItEnded(code: number | null, signal: NodeJS.Signals | null, lines: readonly string[]): string {
  const how = signal === null ? `exit code ${code}` : `killed by ${signal}`;
  const cause = causeOf(lines);
  return `ended (${how})${cause === '' ? '' : `: ${cause}`}`;
}
