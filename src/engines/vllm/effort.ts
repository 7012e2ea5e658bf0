/** How much a group of processes has worked: a start that is slow works, one that hangs does not. */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * Processor time of all processes of a group so far, in clock ticks (a hundredth of a second). 0 where the system has no `/proc`.
 * It can fall when one of them ends.
 */
export function groupTicks(group: number): number {
  return membersOf(group).reduce((ticks, { fields }) => ticks + Number(fields[11]) + Number(fields[12]), 0);
}

/** Ids of its processes. */
export function groupMembers(group: number): number[] {
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
