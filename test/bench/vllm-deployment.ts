/** Real vLLM under `sluice up`, as a user runs it, for contenders to stand in front of. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { childrenOf, commandLine } from '../integration/up-process.ts';
import type { Child, Children } from './children.ts';

export const MODEL = 'tiny';
/** vLLM wants a multiple of 32 on a CPU. */
export const BLOCK_TOKENS = 32;
export const CONTEXT_TOKENS = 4096;

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const START_LIMIT_MS = 300_000;
const STOP_LIMIT_MS = 45_000;
const LOOK_MS = 100;

export interface Pools {
  readonly prefill: number;
  readonly decode: number;
}

export interface VllmInstance {
  readonly id: string;
  readonly role: string;
  readonly incarnation: string;
  readonly connected: boolean;
  /** Where vLLM itself takes requests. */
  readonly requestUrl: string;
}

export class VllmDeployment {
  readonly #child: Child;
  /** Where Sluice's router is. */
  readonly url: string;
  readonly #adminUrl: string;

  private constructor(child: Child, url: string, adminUrl: string) {
    this.#child = child;
    this.url = url;
    this.#adminUrl = adminUrl;
  }

  /** Resolves when a request went the whole way. @throws Error with the last output when that does not happen in time */
  static async start(children: Children, pools: Pools): Promise<VllmDeployment> {
    const file = path.join(children.folder, 'vllm.yaml');
    writeFileSync(file, manifest(pools));
    const env = { NO_COLOR: '1', XDG_RUNTIME_DIR: children.folder, TMPDIR: children.folder };
    const child = children.start('sluice up', [process.execPath, MAIN, 'up', '-f', file, '--verbose'], { cores: null, ipc: false, env });
    const url = await readyUrl(child);
    const states = path.join(children.folder, 'sluice');
    const [state] = readdirSync(states);
    const { adminUrl } = JSON.parse(readFileSync(path.join(states, state ?? ''), 'utf8')) as { adminUrl: string };
    return new VllmDeployment(child, url, adminUrl);
  }

  check(): void {
    if (!this.#child.running()) throw new Error(`sluice up ended; ${this.lastWords()}`);
  }

  /** Of `sluice up` and all that it started. */
  lastWords(): string {
    return `last output of sluice up: ${this.#child.tail().slice(-2000)}`;
  }

  async instances(): Promise<VllmInstance[]> {
    const answer = await fetch(`${this.#adminUrl}/admin/instances`);
    return ((await answer.json()) as { instances: VllmInstance[] }).instances;
  }

  /** Until the instance is in use; after `than`, another life of it. @throws Error when that takes more than five minutes */
  async serving(id: string, than = ''): Promise<VllmInstance> {
    const end = performance.now() + START_LIMIT_MS;
    for (;;) {
      this.check();
      const found = (await this.instances()).find((one) => one.id === id);
      if (found?.connected && found.incarnation !== than) return found;
      if (performance.now() > end) throw new Error(`${id} does not serve after ${START_LIMIT_MS / 1000} s; ${this.lastWords()}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Where vLLM publishes an instance's KV events, as its command line says. */
  eventsPortOf(id: string): number {
    for (const pid of this.#treeOf(id)) {
      const port = /"endpoint":"tcp:\/\/\*:(\d+)"/.exec(commandLine(pid))?.[1];
      if (port !== undefined) return Number(port);
    }
    throw new Error(`no vLLM of ${id} runs`);
  }

  /** kill -9 of all that an instance is: agent, API server, engine core, workers. */
  kill(id: string): void {
    for (const pid of this.#treeOf(id)) killed(pid);
  }

  #treeOf(id: string): number[] {
    const agent = childrenOf(this.#child.pid).find((pid) => commandLine(pid).includes(`--instance ${id} `));
    if (agent === undefined) throw new Error(`no agent of ${id} runs`);
    const tree = [agent];
    for (const pid of tree) tree.push(...childrenOf(pid));
    return tree;
  }

  /** Gives it time to end in order; `Children` is harsher. */
  async stop(): Promise<void> {
    if (!this.#child.running()) return;
    const closed = new Promise<void>((resolve) => this.#child.process.once('close', () => resolve()));
    this.#child.process.kill('SIGTERM');
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_LIMIT_MS);
    });
    await Promise.race([closed, late]);
    clearTimeout(timer);
    await this.#child.stop();
  }
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended with the one that was killed before it.
  }
}

function readyUrl(child: Child): Promise<string> {
  return new Promise((resolve, reject) => {
    let heard = '';
    const settle = () => {
      clearTimeout(timer);
      child.process.stdout?.off('data', listen);
      child.process.off('close', onClose);
    };
    const fail = (why: string) => {
      settle();
      reject(new Error(`sluice up ${why}; its last output: ${child.tail().slice(-2000)}`));
    };
    const listen = (chunk: Buffer) => {
      heard += chunk.toString('utf8');
      const url = /is ready at (http:\/\/\S+)\/v1/.exec(heard)?.[1];
      if (url === undefined) return;
      settle();
      resolve(url);
    };
    const onClose = () => fail('ended while starting');
    const timer = setTimeout(() => fail(`was not ready within ${START_LIMIT_MS / 1000} s`), START_LIMIT_MS);
    child.process.stdout?.on('data', listen);
    child.process.once('close', onClose);
  });
}

function manifest({ prefill, decode }: Pools): string {
  return `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: bench}
spec:
  model: {name: ${MODEL}, source: builtin:tiny}
  engine: {type: vllm, dtype: float32, contextTokens: ${CONTEXT_TOKENS}, maxSequences: 16}
  prefill: {replicas: ${prefill}}
  decode: {replicas: ${decode}}
  kv: {blockTokens: ${BLOCK_TOKENS}, hbm: {capacity: 512Mi}}
  router: {port: 0}
`;
}
