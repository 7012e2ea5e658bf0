/** A ServingDeployment of real vLLM under `sluice up`, as a user runs it, with its processes in reach so that tests can kill them. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf, commandLine, isAlive, type Sandbox, type SluiceProcess, sandbox } from '../integration/up-process.ts';

export const MODEL = 'tiny';
const START_MS = 240_000;
const LOOK_MS = 50;

export interface Pools {
  readonly prefill: number;
  readonly decode: number;
  /** Any field that makes a new revision of both pools. */
  readonly maxSequences?: number;
  /** Lines under `spec.router`. */
  readonly router?: string;
}

export interface RunningInstance {
  readonly id: string;
  readonly role: 'prefill' | 'decode' | 'mixed';
  readonly incarnation: string;
  readonly connected: boolean;
  readonly inFlight: number;
  readonly requestUrl: string;
}

export class Deployment {
  readonly #box: Sandbox = sandbox();
  readonly #file = join(this.#box.folder, 'vllm.yaml');
  #process: SluiceProcess | null = null;
  url = '';
  adminUrl = '';
  /** Milliseconds from `sluice up` to readiness. */
  readyMs = 0;

  /** Resolves when a request went the whole way through the router. */
  async start(pools: Pools): Promise<void> {
    this.save(pools);
    const began = performance.now();
    this.#process = this.#box.run(['up', '-f', this.#file, '--verbose']);
    const [, url] = await this.#process.line(/is ready at (http:\/\/\S+)\/v1/);
    this.readyMs = performance.now() - began;
    this.url = url ?? '';
    const [state] = this.#box.runStates();
    const { adminUrl } = JSON.parse(readFileSync(join(this.#box.folder, 'sluice', state ?? ''), 'utf8')) as { adminUrl: string };
    this.adminUrl = adminUrl;
  }

  save({ prefill, decode, maxSequences = 8, router = '' }: Pools): void {
    writeFileSync(
      this.#file,
      `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: vllm}
spec:
  model: {name: ${MODEL}, source: builtin:tiny}
  engine: {type: vllm, dtype: float32, contextTokens: 4096, maxSequences: ${maxSequences}}
${prefill === 0 ? '' : `  prefill: {replicas: ${prefill}}`}
  decode: {replicas: ${decode}}
  kv: {hbm: {capacity: 256Mi}}
  router:
    port: 0
${router}`,
    );
  }

  /** What the engines and the router wrote, and what was told of them. */
  get output(): string {
    return `${this.#process?.stdout() ?? ''}\n${this.#process?.stderr() ?? ''}`;
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

  /** Until the instance serves; after `than`, another life of it. */
  async serving(id: string, than = ''): Promise<RunningInstance> {
    let found: RunningInstance | undefined;
    await until(`${id} serves`, START_MS, async () => {
      found = (await this.instances()).find((one) => one.id === id);
      return found?.connected === true && found.incarnation !== than;
    });
    return found as RunningInstance;
  }

  agentOf(id: string): number {
    const agent = childrenOf(this.#process?.pid ?? 0).find((pid) => commandLine(pid).includes(`--instance ${id} `));
    if (agent === undefined) throw new Error(`no agent of ${id} runs`);
    return agent;
  }

  /** The agent's process and all that descend from it. */
  treeOf(id: string): number[] {
    const tree = [this.agentOf(id)];
    for (const pid of tree) tree.push(...childrenOf(pid));
    return tree;
  }

  /** The processes of an instance that are vLLM. */
  vllmOf(id: string): number[] {
    return this.treeOf(id).filter((pid) => nameOf(pid) === 'vllm' || nameOf(pid).startsWith('VLLM::'));
  }

  /** vLLM's engine core of an instance. */
  coreOf(id: string): number {
    const core = this.treeOf(id).find((pid) => nameOf(pid).startsWith('VLLM::EngineCor'));
    if (core === undefined) throw new Error(`no engine core of ${id} runs`);
    return core;
  }

  /** kill -9 of everything that an instance is. */
  kill(id: string): void {
    for (const pid of this.treeOf(id)) process.kill(pid, 'SIGKILL');
  }

  /** Ends it; resolves to the processes that are left over. */
  async close(): Promise<number[]> {
    const running = this.#process ? everythingUnder(this.#process.pid) : [];
    this.#process?.kill('SIGTERM');
    await this.#process?.exit;
    await this.#box.close();
    return running.filter(isAlive);
  }
}

export function everythingUnder(pid: number): number[] {
  const tree = [pid];
  for (const each of tree) tree.push(...childrenOf(each));
  return tree;
}

/** The kernel's name of a process: at most 15 characters. */
function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return ''; // ended meanwhile
  }
}

/** Processes of this machine whose name begins so. */
export function processesNamed(prefix: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && nameOf(Number(name)).startsWith(prefix))
    .map(Number);
}

export async function until(what: string, withinMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
