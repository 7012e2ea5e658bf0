/**
 * The router bench. Two simulated engines; every contender stands in front of the same two in the same run; each repeat measures all
 * contenders one after another, order rotating. CPU is that of the contender's process tree alone.
 *
 * Prompts have 1,800 characters. `same`: one body again and again (what wrk does). `set`: 512 distinct bodies over 64 shared
 * beginnings. `fresh`: the same beginnings, but no body is ever sent twice, so that no cache of whole prompts helps; this is the one
 * called `cpuPerRequest`.
 */
import { FREE_COSTS } from '../../src/api/facts/index.ts';
import { evenArrivals, seededRandom } from './arrivals.ts';
import { completionBody, promptSet } from './bodies.ts';
import type { Children } from './children.ts';
import { type Contender, DIRECT, OURS, prepareBaselines, startContenders } from './contenders.ts';
import { cpuMsBetween, readCpu } from './cpu.ts';
import { LoadGenerator } from './load.ts';
import type { LoadJob, LoadResult } from './load-job.ts';
import { allowedCores, describeMachine, layOut } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { MODEL, startEngine } from './sluice.ts';

const DEFAULT_SECONDS = 2;
const WARM_SECONDS = 0.4;
const CONNECTIONS = 32;
const OPEN_RATE = 600;
const STREAMS = 64;
const STREAM_TOKENS = 64;
const TOKEN_SPACING_MS = 10;
const PATIENCE_MS = 10_000;
/** Below this an added latency is noise and no divisor. */
const LEAST_ADDED_MS = 0.005;
const SEED = 20_261_125;

const UNITS: Record<string, string> = {
  cpuPerRequest: 'µs',
  cpuPerRequestSet: 'µs',
  cpuPerRequestSame: 'µs',
  cpuPerStreamedToken: 'µs',
  requestsPerSecond: '1/s',
  addedP50: 'ms',
  addedP99: 'ms',
};

type Measured = (result: LoadResult, cpuMs: number) => Record<string, number>;

/** One kind of load and what is read off it. */
interface Measurement {
  readonly name: string;
  readonly job: Omit<LoadJob, 'ports'>;
  /** Is it also run without a router? */
  readonly direct: boolean;
  readonly measured: Measured;
}

export async function benchRouter(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  const layout = layOut(options.pinned ? allowedCores() : []);
  const seconds = options.seconds ?? DEFAULT_SECONDS;
  const baselines = await prepareBaselines(options.against, children, progress);
  const generator = await LoadGenerator.start(children, layout.load);
  const missing = [...baselines.missing];
  const samples: Sample[] = [];
  const phases = [
    { name: 'instant engines', costs: {}, measurements: instantMeasurements(seconds) },
    {
      name: `engines with ${TOKEN_SPACING_MS} ms between tokens`,
      costs: { stepFixed: TOKEN_SPACING_MS },
      measurements: [streamMeasurement(seconds)],
    },
  ];
  for (const { name, costs, measurements } of phases) {
    progress.step(`starting ${name} and the routers`);
    const flags = ['--sequences', String(STREAMS), '--costs', JSON.stringify({ ...FREE_COSTS, ...costs })];
    const start = (id: string) => startEngine(children, { type: 'sim', role: 'mixed', id, cores: layout.engines, flags });
    const engines = [await start('a'), await start('b')];
    const contenders = await startContenders({ children, engines, cores: layout.router, profile: options.profile }, baselines, missing);
    await measureAll({ contenders, measurements, generator, runs: options.runs, progress }, samples);
    await Promise.all(contenders.map((contender) => contender.stop()));
    await Promise.all(engines.map((engine) => engine.child.stop()));
  }
  return reportOf({ options, samples, missing, versions: [...baselines.ready].map(([name, { version }]) => [name, version]), seconds });
}

interface Measurements {
  readonly options: BenchOptions;
  readonly samples: readonly Sample[];
  readonly missing: readonly string[];
  readonly versions: readonly (readonly [string, string])[];
  readonly seconds: number;
}

function reportOf({ options, samples, missing, versions, seconds }: Measurements): Report {
  const { ratio, absolute, omitted } = compare(addedLatency(samples), OURS, (metric) => (metric.startsWith('added') ? LEAST_ADDED_MS : 0));
  const { router } = layOut(options.pinned ? allowedCores() : []);
  return {
    name: 'router',
    ratio,
    baseline: Object.fromEntries(versions),
    runs: options.runs,
    machine: describeMachine(),
    absolute,
    units: UNITS,
    notes: [
      `2 simulated engines, 1,800 character prompts, ${seconds} s per measurement; ${router ? 'a router has one core, engines and load the rest' : 'nothing is pinned to cores'}`,
      `cpuPerRequest: prompts never sent before; …Set: 512 distinct; …Same: one; ${CONNECTIONS} connections, max_tokens 1`,
      `added…: over direct, open loop, ${OPEN_RATE} requests/s; cpuPerStreamedToken: ${STREAMS} streams, ${STREAM_TOKENS} tokens ${TOKEN_SPACING_MS} ms apart`,
      ...new Set(missing.map((reason) => `left out ${reason}`)),
      ...omitted.map((reason) => `omitted ${reason}`),
      ...(options.profile === null ? [] : ['our router ran with a profiler: its figures are not to be quoted']),
    ],
  };
}

function instantMeasurements(seconds: number): Measurement[] {
  const random = seededRandom(SEED);
  const set = { prefixes: 64, prefixLength: 1200, length: 1800, count: 512 };
  const bodies = (fresh: boolean) =>
    promptSet(set, fresh, random).map((prompt) => completionBody({ model: MODEL, maxTokens: 1, stream: false }, prompt));
  const base = { host: '127.0.0.1', path: '/v1/completions', stream: false, patienceMs: PATIENCE_MS, detail: false };
  const shape = { kind: 'closed', connections: CONNECTIONS, seconds } as const;
  const distinct = bodies(false);
  const fresh = bodies(true);
  const perRequest = (result: LoadResult, cpuMs: number) => (cpuMs * 1000) / result.completed;
  return [
    {
      name: 'fresh prompts',
      job: { ...base, shape, bodies: fresh },
      direct: true,
      measured: (result, cpuMs) => ({ cpuPerRequest: perRequest(result, cpuMs), requestsPerSecond: result.requestsPerSecond }),
    },
    {
      name: '512 prompts',
      job: { ...base, shape, bodies: distinct },
      direct: false,
      measured: (result, cpuMs) => ({ cpuPerRequestSet: perRequest(result, cpuMs) }),
    },
    {
      name: 'one prompt',
      job: { ...base, shape, bodies: distinct.slice(0, 1) },
      direct: false,
      measured: (result, cpuMs) => ({ cpuPerRequestSame: perRequest(result, cpuMs) }),
    },
    {
      name: `${OPEN_RATE} requests/s`,
      job: { ...base, shape: { kind: 'open', arrivalsMs: evenArrivals(OPEN_RATE, seconds), maxConnections: 256 }, bodies: fresh },
      direct: true,
      measured: (result) => ({ p50: result.latencyMs.p50, p99: result.latencyMs.p99 }),
    },
  ];
}

function streamMeasurement(seconds: number): Measurement {
  const set = { prefixes: 64, prefixLength: 1200, length: 1800, count: 512 };
  const bodies = promptSet(set, true, seededRandom(SEED)).map((prompt) =>
    completionBody({ model: MODEL, maxTokens: STREAM_TOKENS, stream: true }, prompt),
  );
  const shape = { kind: 'closed', connections: STREAMS, seconds } as const;
  return {
    name: 'streams',
    job: { host: '127.0.0.1', path: '/v1/completions', stream: true, patienceMs: PATIENCE_MS, detail: false, shape, bodies },
    direct: false,
    measured: (result, cpuMs) => ({ cpuPerStreamedToken: (cpuMs * 1000) / result.tokens }),
  };
}

interface Round {
  readonly contenders: readonly Contender[];
  readonly measurements: readonly Measurement[];
  readonly generator: LoadGenerator;
  readonly runs: number;
  readonly progress: Progress;
}

async function measureAll(round: Round, samples: Sample[]): Promise<void> {
  for (let repeat = 0; repeat < round.runs; repeat += 1) {
    for (const measurement of round.measurements) {
      for (const contender of rotate(round.contenders, repeat)) {
        if (contender.pid === null && !measurement.direct) continue;
        round.progress.step(`run ${repeat + 1}/${round.runs}: ${measurement.name}, ${contender.name}`);
        const figures = await measure(round.generator, measurement, contender);
        for (const [metric, value] of Object.entries(figures)) samples.push({ repeat, contender: contender.name, metric, value });
      }
    }
  }
}

async function measure(
  generator: LoadGenerator,
  { name, job, measured }: Measurement,
  contender: Contender,
): Promise<Record<string, number>> {
  contender.check();
  const whole: LoadJob = { ...job, ports: contender.ports };
  await generator.run({
    ...whole,
    shape: { kind: 'closed', connections: job.shape.kind === 'closed' ? job.shape.connections : CONNECTIONS, seconds: WARM_SECONDS },
  });
  const before = contender.pid === null ? null : readCpu(contender.pid);
  const result = await generator.run(whole);
  const cpuMs = contender.pid === null || before === null ? Number.NaN : cpuMsBetween(before, readCpu(contender.pid));
  contender.check();
  if (result.errors > 0)
    throw new Error(
      `${name} through ${contender.name}: ${result.errors} of ${result.errors + result.completed} answers wrong: ${result.errorExamples.join(' | ')}`,
    );
  return measured(result, cpuMs);
}

/** Latency over what the same repeat had without a router; the direct figures themselves stay as `p50` and `p99`. */
function addedLatency(samples: readonly Sample[]): Sample[] {
  const direct = new Map<string, number>();
  for (const sample of samples) if (sample.contender === DIRECT) direct.set(`${sample.metric} ${sample.repeat}`, sample.value);
  return samples.flatMap((sample) => {
    if (sample.metric !== 'p50' && sample.metric !== 'p99') return [sample];
    if (sample.contender === DIRECT) return [];
    const value = sample.value - (direct.get(`${sample.metric} ${sample.repeat}`) ?? Number.NaN);
    return [{ ...sample, metric: sample.metric === 'p50' ? 'addedP50' : 'addedP99', value }];
  });
}
