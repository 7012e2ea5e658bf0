/**
 * Processors, accelerators and ports of one machine, shared out among processes that know nothing of each other: who listens on the socket of
 * a unit has it. The kernel closes the socket when its owner ends in any way, so a claim never outlives its owner.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';

export type Unit = 'core' | 'accelerator' | 'port';

export interface Claim {
  readonly indices: readonly number[];
  /** True when units had to be taken that others have too. */
  readonly shared: boolean;
  release(): void;
}

export interface ClaimOptions {
  /** Names the sockets; tests take one of their own. */
  readonly scope?: string;
  /** How many owners one unit may have. 1 = never shared. */
  readonly maxOwners: number;
}

/** More claims of one unit than any machine has engines. */
export const MANY_OWNERS = 64;

/**
 * @param from indices that may be taken, best first.
 * @returns null when there are not `count` units left that have fewer than `maxOwners`.
 */
export async function claimUnits(unit: Unit, from: readonly number[], count: number, options: ClaimOptions): Promise<Claim | null> {
  const { scope = 'sluice', maxOwners } = options;
  const taken = new Map<number, Server>();
  const release = () => {
    for (const server of taken.values()) server.close();
  };
  let shared = false;
  // All units get a first owner before any gets a second.
  for (let owner = 0; owner < maxOwners && taken.size < count; owner++) {
    for (const index of from) {
      if (taken.size >= count) break;
      if (taken.has(index)) continue;
      const server = await listen(`\0${scope}-${unit}-${index}-${owner}`);
      if (server === null) continue;
      taken.set(index, server);
      shared ||= owner > 0;
    }
  }
  if (taken.size === count) return { indices: [...taken.keys()].sort((a, b) => a - b), shared, release };
  release();
  return null;
}

/** Null when somebody else listens there. */
function listen(path: string): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.on('error', () => resolve(null));
    server.listen({ path }, () => resolve(server));
  });
}

/** Logical processors that this process may run on. */
export function allowedCores(status = readFileSync('/proc/self/status', 'utf8')): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '0';
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, at) => first + at);
  });
}

/** Accelerators of NVIDIA that this process may open. */
export function presentAccelerators(names: readonly string[] = readdirSync('/dev')): number[] {
  return names
    .map((name) => /^nvidia(\d+)$/.exec(name)?.[1])
    .filter((index) => index !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}
