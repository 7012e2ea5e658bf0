/** CPU time of a process tree, from /proc: every thread of the process and of its descendants. */
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  /** utime + stime, also of threads that ended. */
  readonly ticks: number;
}

/** Linux reports these two fields in units of 1/100 s on every architecture (USER_HZ). */
const MS_PER_TICK = 10;

/** Reads one line of /proc/<pid>/stat; null when it is none. The command name may hold blanks and parentheses. */
export function parseStat(text: string): ProcessStat | null {
  const match = /^(\d+) \((?:.*)\) (.+)$/s.exec(text.trim());
  if (!match?.[2]) return null;
  const fields = match[2].split(' ');
  const parent = Number(fields[1]);
  const ticks = Number(fields[11]) + Number(fields[12]);
  return Number.isFinite(parent) && Number.isFinite(ticks) ? { pid: Number(match[1]), parent, ticks } : null;
}

/** `root` and all that descend from it. */
export function treeOf(root: number, processes: readonly ProcessStat[]): ProcessStat[] {
  const tree = processes.filter((process) => process.pid === root);
  for (let index = 0; index < tree.length; index += 1) {
    const parent = tree[index]?.pid;
    for (const process of processes) if (process.parent === parent && !tree.includes(process)) tree.push(process);
  }
  return tree;
}

/** A reading of the clock of a process tree. */
export interface CpuReading {
  /** Nanoseconds on a core, of the threads that live now. 0 where the kernel keeps no schedstat. */
  readonly runNs: number;
  readonly ticks: number;
}

export function readCpu(root: number): CpuReading {
  const processes: ProcessStat[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = parseStat(readOr(`/proc/${entry}/stat`));
    if (stat) processes.push(stat);
  }
  let runNs = 0;
  let ticks = 0;
  for (const { pid, ticks: own } of treeOf(root, processes)) {
    ticks += own;
    for (const thread of threadsOf(pid)) runNs += Number(readOr(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0]);
  }
  return { runNs, ticks };
}

/**
 * Milliseconds of CPU between two readings. The scheduler's nanoseconds where the kernel has them; when they show less than the
 * ticks do by more than the ticks' own grain, a thread ended in between and took its nanoseconds along (or there are none): then
 * the ticks count.
 */
export function cpuMsBetween(before: CpuReading, after: CpuReading): number {
  const byTicks = (after.ticks - before.ticks) * MS_PER_TICK;
  const byRun = (after.runNs - before.runNs) / 1e6;
  return byRun >= byTicks - 3 * MS_PER_TICK ? byRun : byTicks;
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    // It ended between listing and reading: it has no threads any more.
    return [];
  }
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // As above: a process or thread that just ended reads as nothing.
    return '';
  }
}
