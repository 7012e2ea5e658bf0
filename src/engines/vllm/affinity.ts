/**
 * Puts the threads of a vLLM on a CPU where they belong. vLLM binds its compute threads as told, but then its NixlConnector moves the
 * first of them to the last processor of the machine (of all instances the same one!) and leaves the thread that moves KV on the one it
 * computes on. Seen in 0.32.0; where nothing of it is so, nothing is changed.
 */
import { readdirSync } from 'node:fs';
import koffi from 'koffi';
import { allowedCores } from '../agent/claims.ts';
import { readText, workersOf } from '../agent/effort.ts';

export interface Thread {
  readonly id: number;
  /** Logical processors that it may run on. */
  readonly cores: readonly number[];
}

const MASK_BYTES = 128;

/**
 * Where threads have to go. Pure.
 * @param threads of one process; its first one has the process' id and computes
 * @param own processors of this process, one or more; all but the first have compute threads of their own
 * @param allowed processors that anything of the engine may use
 */
export function misplaced(process: number, threads: readonly Thread[], own: readonly number[], allowed: readonly number[]): Thread[] {
  const [first] = own;
  if (first === undefined) return [];
  const isOnFirst = ({ cores }: Thread) => cores.length === 1 && cores[0] === first;
  return threads.flatMap((thread) => {
    if (thread.id === process) return isOnFirst(thread) ? [] : [{ id: thread.id, cores: [first] }];
    // It was started by the first one and got its binding; it must not take turns with it.
    return isOnFirst(thread) && allowed.length > 1 ? [{ id: thread.id, cores: allowed }] : [];
  });
}

/**
 * @param group of processes of one vLLM
 * @param cores of each rank, as vLLM was told
 * @returns null, or why it could not be done
 */
export function bindThreads(group: number, cores: readonly (readonly number[])[]): string | null {
  const allowed = allowedCores();
  for (const worker of workersOf(group)) {
    const own = cores[rankOf(worker)] ?? [];
    for (const thread of misplaced(worker, threadsOf(worker), own, allowed)) {
      if (!setAffinity(thread)) return `thread ${thread.id} of vLLM cannot be bound to processor ${thread.cores.join(', ')}`;
    }
  }
  return null;
}

function threadsOf(process: number): Thread[] {
  return readdirSync(`/proc/${process}/task`).flatMap((name) => {
    const status = readText(`/proc/${process}/task/${name}/status`);
    return status === '' ? [] : [{ id: Number(name), cores: allowedCores(status) }];
  });
}

/** `VLLM::Worker_TP1` is the second; without a number it is the only one. */
function rankOf(worker: number): number {
  return Number(/_TP(\d+)/.exec(readText(`/proc/${worker}/cmdline`))?.[1] ?? 0);
}

/** True also for a thread that ended meanwhile. */
export function setAffinity({ id, cores }: Thread): boolean {
  const mask = new Uint8Array(MASK_BYTES);
  for (const core of cores) if (core < MASK_BYTES * 8) mask[core >> 3] = (mask[core >> 3] ?? 0) | (1 << (core & 7));
  const call = koffi.load('libc.so.6').func('int sched_setaffinity(int pid, size_t size, const uint8_t *mask)');
  return call(id, MASK_BYTES, mask) === 0 || readText(`/proc/${id}/status`) === '';
}
