/** How much a group of processes has worked: a start that is slow works, one that hangs does not. */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * Processor time of all processes of a group so far, in clock ticks (a hundredth of a second). 0 where the system has no `/proc`.
 * It can fall when one of them ends.
 */
export function groupTicks(group: number): number {
  return membersOf(group).reduce((ticks, { fields }) => ticks + Number(fields[11]) + Number(fields[12]), 0);
}

/**
 * Milliseconds that the computing threads of a vLLM on the CPU have had on a processor so far, on average over its workers; null when
 * there is none or the system does not tell.
 */
export function computeMs(group: number): number | null {
  const times = workersOf(group).map((worker) => Number(readText(`/proc/${worker}/task/${worker}/schedstat`).split(' ')[0]) / 1e6);
  return times.length > 0 && times.every((time) => time > 0) ? times.reduce((sum, time) => sum + time, 0) / times.length : null;
}

/** What its processes that compute call themselves, cut to 15 characters by the kernel; a rank may follow. */
const WORKER = /^VLLM::Worker/;

export function workersOf(group: number): number[] {
  return groupMembers(group).filter((id) => WORKER.test(readText(`/proc/${id}/comm`)));
}

/** Empty when it ended meanwhile. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Ids of its processes. */
function groupMembers(group: number): number[] {
  return membersOf(group).map(({ id }) => id);
}

function membersOf(group: number): { readonly id: number; readonly fields: readonly string[] }[] {
  return processNames().flatMap((name) => {
    const fields = statOf(name);
    return fields !== null && Number(fields[2]) === group ? [{ id: Number(name), fields }] : [];
  });
}

function processNames(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return []; // no /proc here: what the processes write is the only sign
  }
}

/** Fields from the state on: the name before them may hold spaces and parentheses. Null = it ended meanwhile. */
function statOf(name: string): string[] | null {
  try {
    const text = readFileSync(`/proc/${name}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}
