/**
 * Our whole front against NVIDIA Dynamo's: HTTP, tokens, placement over what every instance holds, prefill and decode leg, answer. Each
 * has simulated engines of its own that answer at once, so that what is measured is the front. CPU is that of the front's process tree.
 */
import { evenArrivals, seededRandom } from './arrivals.ts';
import { completionBody, promptSet } from './bodies.ts';
import type { Children } from './children.ts';
import { cpuMsBetween, readCpu } from './cpu.ts';
import { LoadGenerator } from './load.ts';
import type { LoadJob, LoadResult } from './load-job.ts';
import { allowedCores, type CoreLayout, describeMachine, layOut } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { dynamoPeer, type Peer } from './peers.ts';
import { type Front, type Layout, startDynamo } from './peers-dynamo.ts';
import { startOurs } from './peers-ours.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { MODEL } from './sluice.ts';

const OURS = 'sluice';
const COUNTS = [1, 8, 64] as const;
const DEFAULT_SECONDS = 3;
const WARM_SECONDS = 2;
const CONNECTIONS = 16;
const OPEN_RATE = 50;
const STREAM_TOKENS = 16;
const PATIENCE_MS = 20_000;
const SEED = 20_261_126;

const UNITS: Readonly<Record<string, string>> = {
  cpuPerRequest: 'µs',
  cpuPerStream: 'µs',
  timeP50: 'ms',
  timeP99: 'ms',
  requestsPerSecond: '1/s',
  streamsPerSecond: '1/s',
};

export async function benchPeers(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  const dynamo = await dynamoPeer(children, progress);
  const layout = layOut(options.pinned ? allowedCores() : []);
  const generator = await LoadGenerator.start(children, layout.load);
  const seconds = options.seconds ?? DEFAULT_SECONDS;
  const samples: Sample[] = [];
  const faults = new Set<string>();
  const missing: string[] = dynamo.kind === 'missing' ? [`dynamo: ${dynamo.reason}`] : [];
  for (const count of COUNTS) {
    const fronts = await startFronts({ count, children, layout, progress }, dynamo, missing);
    for (let repeat = 0; repeat < options.runs; repeat += 1) {
      for (const front of rotate(fronts, repeat)) {
        progress.step(`run ${repeat + 1}/${options.runs}: ${count} instances, ${front.name}`);
        const figures = await measure({ generator, front, faults }, seconds);
        for (const [metric, value] of Object.entries(figures)) {
          samples.push({ repeat, contender: front.name, metric: `${metric}.${count}`, value });
        }
      }
    }
    progress.step(`stopping ${count} instances`);
    await Promise.all(fronts.map((front) => front.stop()));
  }
  const version = dynamo.kind === 'ready' ? { dynamo: `${dynamo.version}, frontend in router mode kv, engines its mocker` } : {};
  const notes = [...missing.map((reason) => `left out ${reason}`), ...faults];
  return reportOf({ options, samples, notes, version, pinned: layout.router !== null, seconds });
}

interface Stage {
  readonly count: number;
  readonly children: Children;
  readonly layout: CoreLayout;
  readonly progress: Progress;
}

/** One instance does both roles; of more, half are prefill and half decode. */
function poolsOf(count: number): Layout {
  return count === 1 ? { mixed: 1, prefill: 0, decode: 0 } : { mixed: 0, prefill: count / 2, decode: count / 2 };
}

async function startFronts(stage: Stage, dynamo: Peer, missing: string[]): Promise<Front[]> {
  const { count, children, layout, progress } = stage;
  progress.step(`starting ${count} simulated instances and our router`);
  const place = { children, layout: poolsOf(count), cores: { front: layout.router, engines: layout.engines } };
  const fronts = [await startOurs(place)];
  if (dynamo.kind === 'missing') return fronts;
  progress.step(`starting ${count} mockers and dynamo's frontend`);
  try {
    fronts.push(await startDynamo({ ...place, command: dynamo.command }));
  } catch (error) {
    missing.push(`dynamo at ${count} instances: ${error instanceof Error ? error.message : String(error)}`);
  }
  return fronts;
}

interface Bout {
  readonly generator: LoadGenerator;
  readonly front: Front;
  /** What went wrong, in words, once for each reason. */
  readonly faults: Set<string>;
}

async function measure(bout: Bout, seconds: number): Promise<Record<string, number>> {
  bout.front.check();
  await answered(bout, { ...ONE_TOKEN, shape: { kind: 'closed', connections: CONNECTIONS, seconds: WARM_SECONDS } });
  const one = await withCpu(bout, { ...ONE_TOKEN, shape: { kind: 'closed', connections: CONNECTIONS, seconds } });
  const streamed = await withCpu(bout, { ...STREAMED, shape: { kind: 'closed', connections: CONNECTIONS, seconds } });
  const shape = { kind: 'open', arrivalsMs: evenArrivals(OPEN_RATE, seconds), maxConnections: 256 } as const;
  const paced = await answered(bout, { ...ONE_TOKEN, shape });
  bout.front.check();
  return {
    cpuPerRequest: (one.cpuMs * 1000) / one.result.completed,
    requestsPerSecond: one.result.requestsPerSecond,
    cpuPerStream: (streamed.cpuMs * 1000) / streamed.result.completed,
    streamsPerSecond: streamed.result.requestsPerSecond,
    timeP50: paced.latencyMs.p50,
    timeP99: paced.latencyMs.p99,
  };
}

type Job = Omit<LoadJob, 'ports'>;

function jobOf(maxTokens: number, stream: boolean): Omit<Job, 'shape'> {
  const set = { prefixes: 64, prefixLength: 1200, length: 1800, count: 512 };
  const bodies = promptSet(set, true, seededRandom(SEED)).map((prompt) => completionBody({ model: MODEL, maxTokens, stream }, prompt));
  return { host: '127.0.0.1', path: '/v1/completions', stream, patienceMs: PATIENCE_MS, detail: false, bodies };
}

const ONE_TOKEN = jobOf(1, false);
const STREAMED = jobOf(STREAM_TOKENS, true);

/** Wrong answers are told and left out. @throws Error when none is right, or when right ones have not all their tokens */
async function answered({ generator, front, faults }: Bout, job: Job): Promise<LoadResult> {
  const result = await generator.run({ ...job, ports: [front.port] });
  const { completed, errors, errorExamples, tokens } = result;
  const reason = errorExamples[0] ?? '';
  if (completed === 0) throw new Error(`${front.name} answers nothing: ${reason}`);
  if (job.stream && tokens !== completed * STREAM_TOKENS) throw new Error(`${front.name}: ${tokens} tokens in ${completed} streams`);
  if (errors > 0) faults.add(`${front.name}: ${errors} of ${errors + completed} answers wrong and not counted: ${reason}`);
  return result;
}

async function withCpu(bout: Bout, job: Job): Promise<{ result: LoadResult; cpuMs: number }> {
  const before = readCpu(bout.front.pid);
  const result = await answered(bout, job);
  return { result, cpuMs: cpuMsBetween(before, readCpu(bout.front.pid)) };
}

interface Measurements {
  readonly options: BenchOptions;
  readonly samples: readonly Sample[];
  readonly notes: readonly string[];
  readonly version: Readonly<Record<string, string>>;
  readonly pinned: boolean;
  readonly seconds: number;
}

function reportOf({ options, samples, notes, version, pinned, seconds }: Measurements): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const metrics = COUNTS.flatMap((count) => Object.entries(UNITS).map(([metric, unit]) => [`${metric}.${count}`, unit]));
  return {
    name: 'peers',
    ratio,
    baseline: version,
    runs: options.runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(metrics),
    notes: [
      `${COUNTS.join(', ')} simulated instances without delays, those of one role in one process; a single one does both roles, of more half are prefill and half decode`,
      `1,800 character prompts never sent before, over 64 shared beginnings of 1,200; ${seconds} s per measurement; ${pinned ? 'a front has one core, engines and load the rest' : 'nothing is pinned to cores'}`,
      `cpuPerRequest: 1 output token, cpuPerStream: ${STREAM_TOKENS} streamed ones, both with ${CONNECTIONS} connections; time: whole answer of 1 token, open loop, ${OPEN_RATE} requests/s`,
      'both fronts make tokens of prompts with the same BPE tokenizer (some 3 characters a token); what differs: dynamo also makes the text of the answer, which with ours vLLM does, and its engines get tokens where ours get text',
      ...notes,
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}
