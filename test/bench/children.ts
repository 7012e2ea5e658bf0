/**
 * Processes that the bench starts, so that all of them end with it: on the normal way out, on an error and on SIGINT or SIGTERM.
 * Each one is stopped by its own pid: SIGTERM, then SIGKILL after a grace period. Where `setpriv` exists the kernel also stops
 * them should the bench itself be killed.
 */
import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export interface StartOptions {
  /** Cores it may use; null = all. Ignored where `taskset` is missing. */
  readonly cores: readonly number[] | null;
  /** Opens a Node IPC channel to it. */
  readonly ipc: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly process: ChildProcess;
  /** Last lines that it wrote to stdout or stderr. */
  tail(): string;
  running(): boolean;
  stop(): Promise<void>;
}

const TAIL_BYTES = 4096;
const GRACE_MS = 5000;

export class Children {
  readonly folder: string;
  readonly #children = new Set<Child>();
  readonly #onSignal = (signal: NodeJS.Signals) => {
    void this.stopAll().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };

  constructor() {
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'sluice-bench-'));
    process.on('SIGINT', this.#onSignal);
    process.on('SIGTERM', this.#onSignal);
  }

  /** Throws when the command can not be started at all. */
  start(name: string, command: readonly string[], options: StartOptions): Child {
    const [file, ...args] = [...prefix(options.cores), ...command];
    if (file === undefined) throw new Error(`${name}: empty command`);
    const spawnOptions: SpawnOptions = {
      stdio: ['ignore', 'pipe', 'pipe', ...(options.ipc ? ['ipc' as const] : [])],
      env: { ...process.env, ...options.env },
    };
    const child = spawn(file, args, spawnOptions);
    let text = '';
    const keep = (chunk: Buffer) => {
      text = (text + chunk.toString('utf8')).slice(-TAIL_BYTES);
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    child.on('error', (error) => {
      text += `\n${error.message}`;
    });
    if (child.pid === undefined) throw new Error(`${name}: ${file} can not be started`);
    const running = () => child.exitCode === null && child.signalCode === null;
    const started: Child = { name, pid: child.pid, process: child, tail: () => text.trim(), running, stop: () => this.#stop(started) };
    this.#children.add(started);
    return started;
  }

  /** Runs a command to its end; null when it ended with 0, else why not, with its last words. Throws like `start`. */
  async run(name: string, command: readonly string[], limitMs: number, env: Readonly<Record<string, string>> = {}): Promise<string | null> {
    const child = this.start(name, command, { cores: null, ipc: false, env });
    let late = false;
    const limit = setTimeout(() => {
      late = true;
      void child.stop();
    }, limitMs);
    await once(child.process, 'close');
    clearTimeout(limit);
    this.#children.delete(child);
    if (late) return `not done after ${limitMs / 1000} s`;
    return child.process.exitCode === 0 ? null : `exit code ${child.process.exitCode}: ${child.tail().split('\n').at(-1) ?? ''}`;
  }

  /** Stops whatever still runs, the latest first, and removes the temporary folder. */
  async stopAll(): Promise<void> {
    await Promise.all([...this.#children].reverse().map((child) => this.#stop(child)));
    rmSync(this.folder, { recursive: true, force: true });
    process.off('SIGINT', this.#onSignal);
    process.off('SIGTERM', this.#onSignal);
  }

  async #stop(child: Child): Promise<void> {
    this.#children.delete(child);
    if (!child.running()) return;
    const exit = once(child.process, 'exit');
    child.process.kill('SIGTERM');
    const kill = setTimeout(() => child.process.kill('SIGKILL'), GRACE_MS);
    await exit;
    clearTimeout(kill);
  }
}

/** Is the command on PATH? */
export function hasCommand(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined;
}

const available = new Map<string, boolean>();

function prefix(cores: readonly number[] | null): string[] {
  for (const tool of ['setpriv', 'taskset']) if (!available.has(tool)) available.set(tool, hasCommand(tool));
  return [
    ...(available.get('setpriv') ? ['setpriv', '--pdeathsig', 'SIGTERM', '--'] : []),
    ...(cores && available.get('taskset') ? ['taskset', '-c', cores.join(',')] : []),
  ];
}
