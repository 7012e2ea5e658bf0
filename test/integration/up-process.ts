/** `sluice` as a child process of a test: its output as lines to wait for, its children, and its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ENTRY = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

export interface SluiceProcess {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** The first line (from `after` on) that matches; fails when the process ends before one does. */
  line(pattern: RegExp, after?: number): Promise<RegExpExecArray>;
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
}

export interface Sandbox {
  readonly folder: string;
  /** Names of the files that tell of running deployments. */
  runStates(): string[];
  run(args: readonly string[], env?: Readonly<Record<string, string>>): SluiceProcess;
  /** Kills what still runs and removes the folder. */
  close(): Promise<void>;
}

/** Runs of one test: their runtime and temp files are in one folder of their own. */
export function sandbox(): Sandbox {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  const started: SluiceProcess[] = [];
  return {
    folder,
    runStates: () => (existsSync(join(folder, 'sluice')) ? readdirSync(join(folder, 'sluice')) : []),
    run(args, env = {}) {
      const child = spawn(process.execPath, [ENTRY, ...args], {
        env: { ...process.env, NO_COLOR: '1', XDG_RUNTIME_DIR: folder, TMPDIR: folder, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const process_ = observe(child);
      started.push(process_);
      return process_;
    },
    async close() {
      for (const one of started) one.kill('SIGKILL');
      await Promise.all(started.map((one) => one.exit));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function observe(child: ChildProcess): SluiceProcess {
  const text = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  let ended = false;
  const wake = () => {
    for (const look of waiting) look();
  };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      text[name] += chunk;
      wake();
    });
  }
  const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('close', (code, signal) => {
      ended = true;
      wake();
      resolve({ code, signal });
    });
  });
  return {
    pid: child.pid ?? 0,
    stdout: () => text.stdout,
    stderr: () => text.stderr,
    exit,
    kill: (signal) => {
      if (!ended) child.kill(signal);
    },
    line(pattern, after = 0) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(text.stdout.slice(after));
          if (match) resolve(match);
          else if (ended) reject(new Error(`ended without ${pattern}:\n${text.stdout}\n${text.stderr}`));
          else return;
          waiting.delete(look);
        };
        waiting.add(look);
        look();
      });
    },
  };
}

/** Children of a process, by the kernel's own account. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => parentOf(candidate) === pid);
}

function parentOf(pid: number): number | null {
  try {
    // The name in parentheses may hold anything; the parent is the second field after it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return fields[0] === 'Z' ? null : Number(fields[1]);
  } catch {
    return null; // ended meanwhile
  }
}

export function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // ended meanwhile
  }
}

/** Looks until it holds; the test's own timeout is the bound. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
}

export function isAlive(pid: number): boolean {
  return commandLine(pid) !== '';
}
