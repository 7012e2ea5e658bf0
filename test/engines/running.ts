/** vLLM instances of a `sluice up` that runs, seen through its router and through the kernel: what they are, and how to kill them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf, commandLine } from '../integration/up-process.ts';

export interface RunningInstance {
  readonly id: string;
  readonly role: 'prefill' | 'decode' | 'mixed';
  readonly incarnation: string;
  readonly connected: boolean;
  readonly inFlight: number;
  /** Where vLLM itself takes requests. */
  readonly requestUrl: string;
}

export interface RunningOptions {
  /** Of `sluice up`. */
  readonly pid: number;
  readonly adminUrl: string;
  /** Throws when there is nothing to wait for any more. */
  readonly check?: () => void;
}

const START_MS = 300_000;
const LOOK_MS = 50;

export class RunningVllm {
  readonly adminUrl: string;
  readonly #pid: number;
  readonly #check: () => void;

  constructor({ pid, adminUrl, check = () => undefined }: RunningOptions) {
    this.#pid = pid;
    this.adminUrl = adminUrl;
    this.#check = check;
  }

  async instances(): Promise<RunningInstance[]> {
    const response = await fetch(`${this.adminUrl}/admin/instances`);
    return ((await response.json()) as { instances: RunningInstance[] }).instances;
  }

  async instance(id: string): Promise<RunningInstance> {
    const found = (await this.instances()).find((one) => one.id === id);
    if (!found) throw new Error(`there is no instance ${id}`);
    return found;
  }

  /** Until the instance is in use; after `than`, another life of it. @throws Error when that takes more than five minutes */
  async serving(id: string, than = ''): Promise<RunningInstance> {
    let found: RunningInstance | undefined;
    await until(`${id} serves`, START_MS, async () => {
      this.#check();
      found = (await this.instances()).find((one) => one.id === id);
      return found?.connected === true && found.incarnation !== than;
    });
    return found as RunningInstance;
  }

  /** The agent's process and all that descend from it. */
  treeOf(id: string): number[] {
    const agent = childrenOf(this.#pid).find((pid) => commandLine(pid).includes(`--instance ${id} `));
    if (agent === undefined) throw new Error(`no agent of ${id} runs`);
    return everythingUnder(agent);
  }

  /** The processes of an instance that are vLLM. */
  vllmOf(id: string): number[] {
    return this.treeOf(id).filter((pid) => nameOf(pid) === 'vllm' || nameOf(pid).startsWith('VLLM::'));
  }

  /** kill -9 of everything that an instance is: agent, API server, engine core, workers. */
  kill(id: string): void {
    for (const pid of this.treeOf(id)) killNow(pid);
  }
}

/** The admin address of the one `sluice up` whose runtime folder that is. */
export function adminUrlIn(runtimeFolder: string): string {
  const folder = join(runtimeFolder, 'sluice');
  const [state] = readdirSync(folder);
  return (JSON.parse(readFileSync(join(folder, state ?? ''), 'utf8')) as { adminUrl: string }).adminUrl;
}

export interface ManifestOptions {
  readonly name: string;
  readonly model: string;
  readonly contextTokens: number;
  readonly maxSequences: number;
  readonly prefill: number;
  readonly decode: number;
  /** KV memory of each instance. */
  readonly hbm: string;
}

/** vLLM on the CPU with the built-in model. */
export function vllmManifest({ name, model, contextTokens, maxSequences, prefill, decode, hbm }: ManifestOptions): string {
  return `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: ${name}}
spec:
  model: {name: ${model}, source: builtin:tiny}
  engine: {type: vllm, dtype: float32, contextTokens: ${contextTokens}, maxSequences: ${maxSequences}}
  prefill: {replicas: ${prefill}}
  decode: {replicas: ${decode}}
  kv: {blockTokens: 32, hbm: {capacity: ${hbm}}}
  router: {port: 0}
`;
}

export function everythingUnder(pid: number): number[] {
  const tree = [pid];
  for (const each of tree) tree.push(...childrenOf(each));
  return tree;
}

/** The kernel's name of a process: at most 15 characters. */
export function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // ended meanwhile
  }
}

export function killNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended with the one that was killed before it.
  }
}

export async function until(what: string, withinMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
