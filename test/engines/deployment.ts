/** A ServingDeployment of real vLLM under `sluice up`, as a user runs it, to be edited and ended by a test. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, type Sandbox, type SluiceProcess, sandbox } from '../integration/up-process.ts';
import { adminUrlIn, everythingUnder, nameOf, RunningVllm, vllmManifest } from './running.ts';

export const MODEL = 'tiny';

export interface Pools {
  readonly prefill: number;
  readonly decode: number;
  /** Another value makes a new revision of both pools. */
  readonly maxSequences?: number;
}

export class Deployment {
  readonly #box: Sandbox = sandbox();
  readonly #file = join(this.#box.folder, 'vllm.yaml');
  #process: SluiceProcess | null = null;
  #running: RunningVllm | null = null;
  url = '';

  /** Resolves when a request went the whole way through the router. */
  async start(pools: Pools): Promise<void> {
    this.save(pools);
    const started = this.#box.run(['up', '-f', this.#file, '--verbose']);
    this.#process = started;
    const [, url] = await started.line(/is ready at (http:\/\/\S+)\/v1/);
    this.url = url ?? '';
    this.#running = new RunningVllm({ pid: started.pid, adminUrl: adminUrlIn(this.#box.folder) });
  }

  get running(): RunningVllm {
    if (this.#running === null) throw new Error('the deployment did not come up');
    return this.#running;
  }

  save({ prefill, decode, maxSequences = 8 }: Pools): void {
    const sizes = { contextTokens: 4096, maxSequences, hbm: '256Mi' };
    writeFileSync(this.#file, vllmManifest({ name: 'vllm', model: MODEL, ...sizes, prefill, decode }));
  }

  /** Ends it; resolves to the processes that are left over. */
  async close(): Promise<number[]> {
    const processes = this.#process ? everythingUnder(this.#process.pid) : [];
    this.#process?.kill('SIGTERM');
    await this.#process?.exit;
    await this.#box.close();
    return processes.filter(isAlive);
  }
}

/** Processes of this machine whose name begins so. One that ended and waits for its parent to notice is none. */
export function processesNamed(prefix: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && nameOf(Number(name)).startsWith(prefix))
    .map(Number)
    .filter(isAlive);
}
