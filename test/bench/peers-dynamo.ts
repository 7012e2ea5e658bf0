/** NVIDIA Dynamo's frontend with its own mocker as engines: file discovery, ZMQ events, TCP requests; nothing else has to run. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import path from 'node:path';
import { freePort } from '../ports.ts';
import type { Child, Children } from './children.ts';
import { writeModelFolder } from './peers-model.ts';
import { MODEL, untilAnswers } from './sluice.ts';

export const BLOCK_TOKENS = 32;

/** A ratio of 0 is documented as endless and is in fact slower than this. */
const NO_DELAYS = ['--speedup-ratio', '1000000', '--kv-transfer-bandwidth', '0'];

export interface Layout {
  /** Both roles in each of them; 0 when disaggregated. */
  readonly mixed: number;
  readonly prefill: number;
  readonly decode: number;
}

export interface DynamoPlace {
  readonly children: Children;
  /** Python that has Dynamo. */
  readonly command: string;
  readonly layout: Layout;
  readonly cores: { readonly front: readonly number[] | null; readonly engines: readonly number[] | null };
}

export interface Front {
  readonly name: string;
  readonly port: number;
  /** Root of the process tree whose CPU counts. */
  readonly pid: number;
  check(): void;
  stop(): Promise<void>;
}

/** Resolves when a request went through it. @throws Error with its last output */
export async function startDynamo({ children, command, layout, cores }: DynamoPlace): Promise<Front> {
  const folder = mkdtempSync(path.join(children.folder, 'dynamo-'));
  const model = path.join(folder, 'model');
  writeModelFolder(model);
  const env = {
    DYN_DISCOVERY_BACKEND: 'file',
    DYN_FILE_KV: path.join(folder, 'discovery'),
    DYN_EVENT_PLANE: 'zmq',
    DYN_REQUEST_PLANE: 'tcp',
    DYN_LOG: 'warn',
    HF_HUB_OFFLINE: '1',
  };
  mkdirSync(env.DYN_FILE_KV);
  const port = await freePort();
  const python = (name: string, words: readonly string[], where: readonly number[] | null) =>
    children.start(name, [command, '-m', ...words], { cores: where, ipc: false, env });
  const listen = ['--http-host', '127.0.0.1', '--http-port', String(port)];
  const routing = ['--router-mode', 'kv', '--kv-cache-block-size', String(BLOCK_TOKENS)];
  const frontend = python('dynamo frontend', ['dynamo.frontend', ...listen, ...routing], cores.front);
  const own = ['--model-path', model, '--model-name', MODEL, '--block-size', String(BLOCK_TOKENS), ...NO_DELAYS];
  const processes: Child[] = [frontend];
  for (const { mode, workers } of modesOf(layout)) {
    const flags = ['--disaggregation-mode', mode, '--num-workers', String(workers)];
    const ports = mode === 'prefill' ? ['--bootstrap-ports', (await freePorts(workers)).join(',')] : [];
    processes.push(python(`dynamo mocker ${mode}`, ['dynamo.mocker', ...own, ...flags, ...ports], cores.engines));
  }
  const stop = async () => {
    await Promise.all(processes.map((child) => child.stop()));
  };
  const check = () => {
    for (const child of processes) if (!child.running()) throw new Error(`${child.name} ended: ${child.tail().slice(-2000)}`);
  };
  try {
    await untilAnswers(frontend, port);
    await untilDisaggregated(port, layout);
    check();
  } catch (error) {
    await stop();
    throw error;
  }
  return { name: 'dynamo', port, pid: frontend.pid, check, stop };
}

function modesOf({ mixed, prefill, decode }: Layout): { mode: 'agg' | 'prefill' | 'decode'; workers: number }[] {
  const modes = [
    { mode: 'agg', workers: mixed },
    { mode: 'prefill', workers: prefill },
    { mode: 'decode', workers: decode },
  ] as const;
  return modes.filter(({ workers }) => workers > 0);
}

const SEEN_LIMIT_MS = 30_000;
const LOOK_MS = 100;

/** Decode workers answer alone until the frontend has found the prefill workers: not what is to be measured. */
async function untilDisaggregated(port: number, { mixed, prefill, decode }: Layout): Promise<void> {
  const end = performance.now() + SEEN_LIMIT_MS;
  for (;;) {
    const health = await (await fetch(`http://127.0.0.1:${port}/health`)).text();
    const count = (component: string) => health.split(`"component":"${component}","endpoint":"generate"`).length - 1;
    if (count('backend') === mixed + decode && count('prefill') === prefill) return;
    if (performance.now() > end) throw new Error(`dynamo's frontend does not see all workers: ${health.slice(0, 300)}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}
