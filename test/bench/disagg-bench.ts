/**
 * Disaggregated against mixed: 1 prefill + 1 decode instance, and two mixed ones, each pair behind a router of its own, given the very
 * same requests at the very same times. Real engines. The rate is a share of what the mixed pair can do, found first; the SLO is a
 * multiple of what one request alone sees on this machine, so that it means the same on a faster one.
 */
import { poissonArrivals, seededRandom } from './arrivals.ts';
import { completionBody } from './bodies.ts';
import type { Children } from './children.ts';
import { LoadGenerator } from './load.ts';
import type { LoadJob, LoadResult } from './load-job.ts';
import { allowedCores, describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import { formatFigure, type Report } from './report.ts';
import { type Engine, MODEL, type Router, startEngine, startRouter } from './sluice.ts';
import { logUniform, randomTokens } from './tokens.ts';

const DEFAULT_SECONDS = 20;
const PROMPT_TOKENS = { low: 64, high: 2000 };
const OUTPUT_TOKENS = { low: 32, high: 64 };
const WARM_SECONDS = 2;
const CALIBRATION_SECONDS = 6;
const SHARE_OF_SATURATION = 0.65;
const SATURATING_CONNECTIONS = 16;
const SLO_TTFT_FACTOR = 2;
const SLO_TPOT_FACTOR = 10;
const PATIENCE_MS = 30_000;
const OURS = 'disaggregated';
const BASELINE = 'mixed';

interface Slo {
  readonly ttftMs: number;
  readonly tpotMs: number;
}

/** What the load is set by, found on the mixed pair before the runs. */
interface Calibration {
  readonly slo: Slo;
  readonly saturatedPerSecond: number;
  readonly ratePerSecond: number;
}

export async function benchDisagg(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  progress.step('starting four llama.cpp engines and two routers');
  const cores = allowedCores();
  const ports = new Map([
    [OURS, (await startPair(children, cores, OURS, ['prefill', 'decode'])).port],
    [BASELINE, (await startPair(children, cores, BASELINE, ['mixed', 'mixed'])).port],
  ]);
  const generator = await LoadGenerator.start(children, null);
  const calibration = await calibrate(generator, ports, progress);
  const seconds = options.seconds ?? DEFAULT_SECONDS;
  const samples: Sample[] = [];
  const faults = new Set<string>();
  for (let repeat = 0; repeat < options.runs; repeat += 1) {
    for (const [name, port] of rotate([...ports], repeat)) {
      progress.step(`run ${repeat + 1}/${options.runs}: ${name}, ${formatFigure(calibration.ratePerSecond)} requests/s`);
      const result = await generator.run(openJob(port, calibration.ratePerSecond, seconds, 100 + repeat));
      if (result.completed === 0) throw new Error(`no answer through ${name}: ${result.errorExamples.join(' | ')}`);
      for (const example of result.errorExamples) {
        faults.add(`${name}: ${result.errors} wrong answers in run ${repeat + 1}, counted as missing the SLO: ${example}`);
      }
      for (const [metric, value] of Object.entries(figuresOf(result, calibration.slo))) {
        samples.push({ repeat, contender: name, metric, value });
      }
    }
  }
  const { ratio, absolute, omitted } = compare(samples, OURS);
  return {
    name: 'disagg',
    ratio,
    baseline: { [BASELINE]: 'two mixed instances behind the same router' },
    runs: options.runs,
    machine: describeMachine(),
    absolute,
    units: { ttftP50: 'ms', ttftP99: 'ms', tpotP50: 'ms', tpotP99: 'ms', attainment: 'share' },
    notes: [...describeLoad(calibration, seconds), ...faults, ...omitted.map((reason) => `omitted ${reason}`)],
  };
}

async function calibrate(generator: LoadGenerator, ports: ReadonlyMap<string, number>, progress: Progress): Promise<Calibration> {
  progress.step('warming up, then measuring one request at a time');
  for (const port of ports.values()) await generator.run(closedJob(port, 4, WARM_SECONDS, 1));
  const mixed = ports.get(BASELINE) ?? 0;
  const alone = checked(await generator.run(closedJob(mixed, 1, CALIBRATION_SECONDS, 2)));
  progress.step('finding what the mixed pair can do');
  const saturated = checked(await generator.run(closedJob(mixed, SATURATING_CONNECTIONS, CALIBRATION_SECONDS, 3)));
  return {
    slo: { ttftMs: alone.ttftMs.p99 * SLO_TTFT_FACTOR, tpotMs: alone.tpotMs.p50 * SLO_TPOT_FACTOR },
    saturatedPerSecond: saturated.requestsPerSecond,
    ratePerSecond: saturated.requestsPerSecond * SHARE_OF_SATURATION,
  };
}

function describeLoad({ slo, saturatedPerSecond, ratePerSecond }: Calibration, seconds: number): string[] {
  const ttft = `TTFT ≤ ${formatFigure(slo.ttftMs)} ms (${SLO_TTFT_FACTOR} × p99 of one request at a time)`;
  const tpot = `mean TPOT ≤ ${formatFigure(slo.tpotMs)} ms (${SLO_TPOT_FACTOR} × its p50)`;
  const share = `${SHARE_OF_SATURATION} of the ${formatFigure(saturatedPerSecond)} that the mixed pair does with ${SATURATING_CONNECTIONS} at once`;
  return [
    `SLO: ${ttft} and ${tpot}`,
    `load: Poisson, ${formatFigure(ratePerSecond)} requests/s (${share}), ${seconds} s a run`,
    `prompts of ${PROMPT_TOKENS.low} to ${PROMPT_TOKENS.high} tokens (log-uniform, nothing shared), ${OUTPUT_TOKENS.low} to ${OUTPUT_TOKENS.high} output tokens`,
  ];
}

async function startPair(children: Children, cores: readonly number[], name: string, roles: readonly Engine['role'][]): Promise<Router> {
  const flags = ['--context', '4096', '--sequences', '16', '--hbm-bytes', String(2 ** 27), '--host-bytes', String(2 ** 27)];
  const engines: Engine[] = [];
  for (const [index, role] of roles.entries()) {
    const core = cores[index % cores.length];
    engines.push(
      await startEngine(children, { type: 'llamacpp', role, id: `${name}-${index}`, cores: core === undefined ? null : [core], flags }),
    );
  }
  return startRouter(children, engines, { cores: null, nodeFlags: [], flags: [] });
}

function requests(count: number, seed: number): string[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const prompt = randomTokens(logUniform(PROMPT_TOKENS.low, PROMPT_TOKENS.high, random), random);
    const maxTokens = OUTPUT_TOKENS.low + Math.floor(random() * (OUTPUT_TOKENS.high - OUTPUT_TOKENS.low + 1));
    return completionBody({ model: MODEL, maxTokens, stream: true }, prompt);
  });
}

const STREAMED = { host: '127.0.0.1', path: '/v1/completions', stream: true, patienceMs: PATIENCE_MS, detail: true } as const;

function closedJob(port: number, connections: number, seconds: number, seed: number): LoadJob {
  return { ...STREAMED, ports: [port], shape: { kind: 'closed', connections, seconds }, bodies: requests(2000, seed) };
}

function openJob(port: number, rate: number, seconds: number, seed: number): LoadJob {
  const arrivalsMs = poissonArrivals(rate, seconds, seededRandom(seed));
  return {
    ...STREAMED,
    ports: [port],
    shape: { kind: 'open', arrivalsMs, maxConnections: 512 },
    bodies: requests(Math.max(1, arrivalsMs.length), seed),
  };
}

function checked(result: LoadResult): LoadResult {
  if (result.errors > 0 || result.completed === 0)
    throw new Error(`calibration: ${result.errors} wrong answers: ${result.errorExamples.join(' | ')}`);
  return result;
}

/** A request that failed misses its SLO. */
function figuresOf(result: LoadResult, slo: Slo): Record<string, number> {
  const met = result.answers.filter((answer) => answer.ttftMs <= slo.ttftMs && (answer.tpotMs ?? 0) <= slo.tpotMs).length;
  return {
    ttftP50: result.ttftMs.p50,
    ttftP99: result.ttftMs.p99,
    tpotP50: result.tpotMs.p50,
    tpotP99: result.tpotMs.p99,
    attainment: met / (result.completed + result.errors),
  };
}
