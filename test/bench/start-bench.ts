/**
 * What `sluice up` adds to the start of vLLM. Each repeat starts the deployment as a user does, and the very same vLLM processes alone: the
 * command lines and environments of those that Sluice started, read from the kernel. Both sides end before the other one starts.
 */
import { readFileSync } from 'node:fs';
import { findVllm } from '../../src/engines/vllm/install/index.ts';
import { everythingUnder, killNow, until } from '../engines/running.ts';
import { isAlive } from '../integration/up-process.ts';
import type { Child, Children } from './children.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { sluiceCacheFolder } from './peers.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { MODEL, VllmDeployment } from './vllm-deployment.ts';

const OURS = 'sluice';
const ALONE = 'vllm';
const START_LIMIT_MS = 300_000;
const STOP_LIMIT_MS = 30_000;
const POLL_MS = 20;
const UNITS = { ready: 'ms', firstAnswer: 'ms', readyAdded: 'ms', firstAnswerAdded: 'ms' };

/** One `vllm serve` as Sluice started it. */
interface Command {
  readonly id: string;
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly url: string;
}

/** Milliseconds from the first process. */
interface Started {
  /** Until all instances are well, or Sluice says that it is ready. */
  readonly ready: number;
  /** Until a request sent then was answered. */
  readonly firstAnswer: number;
}

export async function benchStart(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  findVllm({ cacheFolder: sluiceCacheFolder(), env: process.env });
  const commands = await learn(options, children, progress);
  const contenders = [
    { name: OURS, start: async () => (await startOurs(options, children)).started },
    { name: ALONE, start: () => startAlone(commands, children) },
  ];
  const samples: Sample[] = [];
  for (let repeat = 0; repeat < options.runs; repeat += 1) {
    const taken = new Map<string, Started>();
    for (const { name, start } of rotate(contenders, repeat)) {
      progress.step(`run ${repeat + 1}/${options.runs}: ${name}`);
      const started = await start();
      taken.set(name, started);
      for (const [metric, value] of Object.entries(started)) samples.push({ repeat, contender: name, metric, value });
    }
    samples.push(...added(repeat, taken));
  }
  return reportOf(options, samples);
}

/** Not measured: it fills the caches of both sides, and tells what vLLM is started with. */
async function learn(options: BenchOptions, children: Children, progress: Progress): Promise<Command[]> {
  progress.step('starting once, to see the command lines (a minute or so)');
  const { commands } = await startOurs(options, children);
  return commands;
}

async function startOurs({ pools }: BenchOptions, children: Children): Promise<{ started: Started; commands: Command[] }> {
  const from = performance.now();
  const deployment = await VllmDeployment.start(children, pools);
  try {
    const ready = performance.now() - from;
    await answer(deployment.url);
    const firstAnswer = performance.now() - from;
    const instances = await deployment.running.instances();
    const commands = instances.map(({ id, requestUrl }) => ({ id, url: requestUrl, ...commandOf(deployment.running.vllmOf(id)) }));
    return { started: { ready, firstAnswer }, commands };
  } finally {
    await deployment.stop();
  }
}

function commandOf(pids: readonly number[]): Pick<Command, 'words' | 'env'> {
  for (const pid of pids) {
    const words = partsOf(`/proc/${pid}/cmdline`);
    if (words.includes('serve')) return { words, env: Object.fromEntries(partsOf(`/proc/${pid}/environ`).map(pairOf)) };
  }
  throw new Error('a vLLM that Sluice started has no process with `serve` in its command line');
}

function partsOf(path: string): string[] {
  return readFileSync(path, 'utf8').split('\0').slice(0, -1);
}

function pairOf(line: string): [string, string] {
  const at = line.indexOf('=');
  return [line.slice(0, at), line.slice(at + 1)];
}

async function startAlone(commands: readonly Command[], children: Children): Promise<Started> {
  const from = performance.now();
  const started: Child[] = commands.map(({ id, words, env }) => children.start(`vLLM ${id}`, words, { cores: null, ipc: false, env }));
  try {
    await Promise.all(commands.map(({ url }, index) => well(url, started[index])));
    const ready = performance.now() - from;
    await answer(commands.at(-1)?.url ?? '');
    return { ready, firstAnswer: performance.now() - from };
  } finally {
    await Promise.all(started.map(end));
  }
}

async function well(url: string, child: Child | undefined): Promise<void> {
  const limit = performance.now() + START_LIMIT_MS;
  while (performance.now() < limit) {
    if (child?.running() !== true) throw new Error(`vLLM ended while starting; its last output: ${child?.tail().slice(-2000)}`);
    const status = await fetch(`${url}/health`).then(
      (response) => response.status,
      () => null, // nobody listens there yet
    );
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`vLLM alone was not well within ${START_LIMIT_MS / 1000} s; its last output: ${child?.tail().slice(-2000)}`);
}

async function answer(url: string): Promise<void> {
  const body = JSON.stringify({ model: MODEL, prompt: 'The first words to a model that has just been loaded.', max_tokens: 1 });
  const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`the first request to ${url} was answered ${response.status}: ${text.slice(0, 300)}`);
}

/** Its other processes go with the first one; what does not is killed, so that the next start is alone on the machine. */
async function end(child: Child): Promise<void> {
  const tree = everythingUnder(child.pid);
  child.process.kill('SIGTERM');
  try {
    await until(`${child.name} ended`, STOP_LIMIT_MS, () => !tree.some(isAlive));
  } catch {
    for (const pid of tree) killNow(pid);
  }
  await child.stop();
}

function added(repeat: number, taken: ReadonlyMap<string, Started>): Sample[] {
  const [ours, alone] = [taken.get(OURS), taken.get(ALONE)];
  if (!ours || !alone) return [];
  return (['ready', 'firstAnswer'] as const).map((metric) => ({
    repeat,
    contender: OURS,
    metric: `${metric}Added`,
    value: ours[metric] - alone[metric],
  }));
}

function reportOf({ runs, pools }: BenchOptions, samples: readonly Sample[]): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  return {
    name: 'start',
    ratio,
    baseline: { [ALONE]: 'the same vLLM processes, with the command lines and environments that Sluice gave them, started together' },
    runs,
    machine: describeMachine(),
    absolute,
    units: UNITS,
    notes: [
      `${pools.prefill} prefill and ${pools.decode} decode instances of vLLM on the CPU with the built-in model; caches filled by a start that is not measured`,
      'ready: all vLLM answer /health with 200; for sluice up: it says that it is ready, after a request went from prefill to decode instance',
      '…Added: ours less the baseline of the same repeat',
      ...omitted.map((what) => `left out ${what}`),
    ],
  };
}
