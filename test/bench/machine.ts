import { readFileSync } from 'node:fs';
import os from 'node:os';

/** What a reader needs to judge the absolute figures. No host name. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cores: allowedCores().length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
  };
}

/** Cores that this process may use, in ascending order. */
export function allowedCores(): number[] {
  const line = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return line?.[1] ? parseCoreList(line[1]) : os.cpus().map((_, index) => index);
}

/** `0-2,5` → [0, 1, 2, 5]. Parts that are no range are skipped. */
export function parseCoreList(text: string): number[] {
  const cores: number[] = [];
  for (const part of text.trim().split(',')) {
    const range = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (!range) continue;
    const first = Number(range[1]);
    const last = Math.min(Number(range[2] ?? first), first + 4095);
    for (let core = first; core <= last; core += 1) cores.push(core);
  }
  return cores;
}

/** Who runs on which cores; null = anywhere. */
export interface CoreLayout {
  readonly load: readonly number[] | null;
  readonly engines: readonly number[] | null;
  readonly router: readonly number[] | null;
}

/**
 * The contender gets a core of its own, the same for all of them; engines and load generator share the others. On one core
 * nothing is pinned.
 */
export function layOut(cores: readonly number[]): CoreLayout {
  if (cores.length < 2) return { load: null, engines: null, router: null };
  if (cores.length < 4) return { load: cores.slice(0, 1), engines: cores.slice(0, 1), router: cores.slice(1, 2) };
  return { load: cores.slice(0, 1), engines: cores.slice(1, 3), router: cores.slice(3, 4) };
}
