/** Real vLLM under `sluice up`, as a user runs it, for contenders to stand in front of. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { adminUrlIn, RunningVllm, vllmManifest } from '../engines/running.ts';
import { commandLine } from '../integration/up-process.ts';
import type { Child, Children } from './children.ts';

export const MODEL = 'tiny';
/** vLLM wants a multiple of 32 on a CPU. */
export const BLOCK_TOKENS = 32;
export const CONTEXT_TOKENS = 4096;

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const START_LIMIT_MS = 300_000;
const STOP_LIMIT_MS = 45_000;

export interface Pools {
  readonly prefill: number;
  readonly decode: number;
}

export class VllmDeployment {
  readonly #child: Child;
  /** Where Sluice's router is. */
  readonly url: string;
  readonly running: RunningVllm;

  private constructor(child: Child, url: string, adminUrl: string) {
    this.#child = child;
    this.url = url;
    this.running = new RunningVllm({ pid: child.pid, adminUrl, check: () => this.check() });
  }

  /** Resolves when a request went the whole way. @throws Error with the last output when that does not happen in time */
  static async start(children: Children, pools: Pools): Promise<VllmDeployment> {
    const file = path.join(children.folder, 'vllm.yaml');
    const sizes = { contextTokens: CONTEXT_TOKENS, maxSequences: 16, hbm: '512Mi' };
    writeFileSync(file, vllmManifest({ name: 'bench', model: MODEL, ...sizes, ...pools }));
    const env = { NO_COLOR: '1', XDG_RUNTIME_DIR: children.folder, TMPDIR: children.folder };
    const child = children.start('sluice up', [process.execPath, MAIN, 'up', '-f', file, '--verbose'], { cores: null, ipc: false, env });
    const url = await readyUrl(child);
    return new VllmDeployment(child, url, adminUrlIn(children.folder));
  }

  check(): void {
    if (!this.#child.running()) throw new Error(`sluice up ended; ${this.lastWords()}`);
  }

  /** Of `sluice up` and all that it started. */
  lastWords(): string {
    return `last output of sluice up: ${this.#child.tail().slice(-2000)}`;
  }

  /** Where vLLM publishes an instance's KV events, as its command line says. */
  eventsPortOf(id: string): number {
    for (const pid of this.running.treeOf(id)) {
      const port = /"endpoint":"tcp:\/\/\*:(\d+)"/.exec(commandLine(pid))?.[1];
      if (port !== undefined) return Number(port);
    }
    throw new Error(`no vLLM of ${id} runs`);
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
