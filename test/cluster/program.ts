/** One program of a control plane as a child process: its output in a file, ended by process id whatever happens to us. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';

export interface RunningProgram {
  readonly name: string;
  readonly pid: number;
  readonly running: boolean;
  /** SIGSTOP freezes it, SIGCONT lets it go on. */
  signal(signal: NodeJS.Signals): void;
  /** Kills it and resolves when it is gone. Idempotent. */
  kill(): Promise<void>;
  /** Its newest lines, to say why it did not come up. */
  lastWords(): string;
}

const alive = new Set<RunningProgram>();
let hooked = false;

/**
 * Output is appended to `logFile`, so that a restart keeps what was said before.
 * @param within a command that runs the one behind it elsewhere, such as `nsenter`. Signals other than SIGKILL stay with it.
 */
export function startProgram(path: string, args: readonly string[], logFile: string, within: readonly string[] = []): RunningProgram {
  hookExit();
  const name = path.slice(path.lastIndexOf('/') + 1);
  const log = openSync(logFile, 'a');
  // The kernel kills it when we die without a word; a program that was only asked to end could outlive its test.
  const [program = '', ...words] = [...guard(), ...(within.length === 0 ? [] : [...within, ...guard()]), path, ...args];
  const child = spawn(program, words, { stdio: ['ignore', log, log] });
  closeSync(log);
  let running = child.pid !== undefined;
  const gone = new Promise<void>((resolve) => {
    const ended = () => {
      running = false;
      alive.delete(handle);
      resolve();
    };
    child.on('error', ended);
    child.on('exit', ended);
  });
  const handle: RunningProgram = {
    name,
    pid: child.pid ?? 0,
    get running() {
      return running;
    },
    signal(signal) {
      if (running) child.kill(signal);
    },
    kill() {
      this.signal('SIGKILL');
      return gone;
    },
    lastWords: () => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-8).join('\n'),
  };
  alive.add(handle);
  return handle;
}

/** Put before a command, it makes the kernel kill that when we die. */
export function guard(): readonly string[] {
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((file) => existsSync(file));
  return setpriv === undefined ? [] : [setpriv, '--pdeathsig', 'KILL'];
}

function hookExit(): void {
  if (hooked) return;
  hooked = true;
  process.on('exit', () => {
    for (const program of alive) program.signal('SIGKILL');
  });
}
