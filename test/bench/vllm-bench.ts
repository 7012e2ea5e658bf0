/**
 * Sluice's router against vllm-router in P/D mode on real vLLM: `sluice up` starts the instances once, and every contender stands in
 * front of the very same ones. Two workloads out of recorded traces, at half of what the slowest contender can do, which is measured
 * first. Each run has prompts of its own, so that no cache of an earlier run helps.
 */
import { findVllm } from '../../src/engines/vllm/install/index.ts';
import type { Children } from './children.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { pythonPeer, sluiceCacheFolder } from './peers.ts';
import type { Progress } from './progress.ts';
import { quantiles } from './quantiles.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import { formatFigure, type Report } from './report.ts';
import { atRate, cacheableShare } from './trace.ts';
import type { Answered, Outcome } from './vllm-client.ts';
import { type Front, OURS, ourFront, startVllmRouter, VLLM_ROUTER_VERSION } from './vllm-contenders.ts';
import { type Counted, countedBetween, readCounters } from './vllm-counters.ts';
import { BLOCK_TOKENS, type Pools, VllmDeployment } from './vllm-deployment.ts';
import { replay, saturate } from './vllm-replay.ts';
import { describeTails, type Run } from './vllm-tails.ts';
import { DIVISOR, freshPlan, readWorkloads, type Workload } from './vllm-workload.ts';

const DEFAULT_SECONDS = 40;
const SATURATED_SECONDS = 10;
const SHARE_OF_SATURATION = 0.5;
const CONNECTIONS = 8;
const WARM_SECONDS = 5;
const PATIENCE_MS = 60_000;
/** More requests than any closed loop gets through. */
const ENDLESS = { rate: 1000, seconds: 1 };

export interface Stand {
  readonly deployment: VllmDeployment;
  readonly progress: Progress;
}

/** @throws Error that says what to do when there is no vLLM */
export async function startStand(pools: Pools, children: Children, progress: Progress): Promise<Stand> {
  findVllm({ cacheFolder: sluiceCacheFolder(), env: process.env });
  progress.step(`starting ${pools.prefill} prefill and ${pools.decode} decode instances of vLLM with sluice up (a minute or so)`);
  return { deployment: await VllmDeployment.start(children, pools), progress };
}

export async function benchVllm(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  const missing: string[] = [];
  const router = await pythonPeer('vllm-router', VLLM_ROUTER_VERSION, children, progress);
  const stand = await startStand(options.pools, children, progress);
  try {
    const fronts = [ourFront(stand.deployment)];
    if (router.kind === 'missing') missing.push(`vllmRouter: ${router.reason}`);
    else fronts.push(...(await startModes(stand, children, router.command, missing)));
    const seconds = options.seconds ?? DEFAULT_SECONDS;
    const workloads: Paced[] = [];
    for (const workload of readWorkloads()) workloads.push({ ...workload, ...(await findRate(stand, fronts, workload)) });
    const samples: Sample[] = [];
    const faults = new Set<string>();
    const runs: Run[] = [];
    for (let repeat = 0; repeat < options.runs; repeat += 1) {
      for (const workload of workloads) {
        for (const front of rotate(fronts, repeat)) {
          progress.step(`run ${repeat + 1}/${options.runs}: ${workload.name}, ${front.name}`);
          const { figures, failures, ttftMs } = await measure(stand, front, workload, seconds);
          runs.push({ workload: workload.name, contender: front.name, ttftMs });
          for (const [metric, value] of Object.entries(figures)) {
            samples.push({ repeat, contender: front.name, metric: `${workload.name}.${metric}`, value });
          }
          for (const failure of failures) faults.add(`${front.name}, ${workload.name}, run ${repeat + 1}: ${failure}`);
        }
      }
    }
    return reportOf({
      options,
      samples,
      workloads,
      seconds,
      notes: [...describeTails(runs, OURS), ...missing.map((reason) => `left out ${reason}`), ...faults],
    });
  } finally {
    progress.step('stopping');
    await stand.deployment.stop();
  }
}

/** The modes of vllm-router that come up; for the others the reason is pushed on `missing`. */
async function startModes({ deployment, progress }: Stand, children: Children, command: string, missing: string[]): Promise<Front[]> {
  const backends = (await deployment.running.instances()).map(({ id, role, requestUrl }) => ({
    url: requestUrl,
    role,
    events: deployment.eventsPortOf(id),
  }));
  const fronts: Front[] = [];
  for (const mode of [
    { name: 'vllmRouter', policy: 'cache_aware', watchful: false },
    { name: 'vllmRouterKvAware', policy: 'kv_aware', watchful: false },
  ] as const) {
    progress.step(`starting vllm-router, ${mode.policy}`);
    try {
      fronts.push(await startVllmRouter(children, command, backends, mode));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      missing.push(`${mode.name}: ${reason}`);
      progress.note(`left out ${mode.name}: ${reason}`);
    }
  }
  return fronts;
}

interface Pace {
  readonly ratePerSecond: number;
  readonly saturatedPerSecond: Readonly<Record<string, number>>;
}

type Paced = Workload & Pace;

/** Warms all of them up, then finds what each can do. @throws Error when one gives a wrong answer already here */
export async function findRate({ deployment, progress }: Stand, fronts: readonly Front[], workload: Workload): Promise<Pace> {
  const saturatedPerSecond: Record<string, number> = {};
  for (const front of fronts) {
    progress.step(`${workload.name}: finding what ${front.name} can do`);
    for (const seconds of [WARM_SECONDS, SATURATED_SECONDS]) {
      const { outcomes, wallMs } = await saturated(front, workload, seconds);
      const bad = outcomes.find((outcome) => outcome.kind === 'failed');
      if (bad) throw new Error(`calibration, ${workload.name} through ${front.name}: ${bad.reason}; ${deployment.lastWords()}`);
      saturatedPerSecond[front.name] = (outcomes.length * 1000) / wallMs;
    }
  }
  return { saturatedPerSecond, ratePerSecond: Math.min(...Object.values(saturatedPerSecond)) * SHARE_OF_SATURATION };
}

function saturated(front: Front, workload: Workload, seconds: number): ReturnType<typeof saturate> {
  const plan = freshPlan(workload, ENDLESS.rate, ENDLESS.seconds);
  return saturate(front.url, plan, { connections: CONNECTIONS, seconds, patienceMs: PATIENCE_MS });
}

interface Measured {
  readonly figures: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
  readonly ttftMs: readonly number[];
}

async function measure({ deployment }: Stand, front: Front, workload: Paced, seconds: number): Promise<Measured> {
  front.check();
  deployment.check();
  const instances = await deployment.running.instances();
  const before = await readCounters(instances);
  const played = await replay(front.url, freshPlan(workload, workload.ratePerSecond, seconds), PATIENCE_MS);
  const counted = countedBetween(before, await readCounters(instances));
  const { outcomes, wallMs } = await saturated(front, workload, SATURATED_SECONDS);
  const whole = [...played.map(({ outcome }) => outcome), ...outcomes];
  return {
    figures: {
      ...latencies(answersOf(played.map(({ outcome }) => outcome))),
      ...shares(answersOf(played.map(({ outcome }) => outcome)), counted),
      throughput: (answersOf(outcomes).length * 1000) / wallMs,
    },
    failures: failuresOf(whole),
    ttftMs: answersOf(played.map(({ outcome }) => outcome)).map(({ ttftMs }) => ttftMs),
  };
}

export function answersOf(outcomes: readonly Outcome[]): Answered[] {
  return outcomes.filter((outcome) => outcome.kind === 'answered');
}

export function latencies(answers: readonly Answered[]): Record<string, number> {
  const ttft = quantiles(answers.map(({ ttftMs }) => ttftMs));
  const tpot = quantiles(answers.flatMap(({ tpotMs }) => (tpotMs === null ? [] : [tpotMs])));
  return { ttftP50: ttft.p50, ttftP99: ttft.p99, tpotP50: tpot.p50, tpotP99: tpot.p99 };
}

function shares(answers: readonly Answered[], { computedTokens, computedOnPrefill, pulledBytes }: Counted): Record<string, number> {
  const promptTokens = answers.reduce((sum, answer) => sum + answer.promptTokens, 0);
  return {
    hitRate: 1 - computedTokens / promptTokens,
    computedOnPrefill: computedOnPrefill / computedTokens,
    pulledPerRequest: pulledBytes / 1024 / answers.length,
  };
}

/** How many answers were wrong, and the first few reasons; empty for none. */
export function failuresOf(outcomes: readonly Outcome[]): string[] {
  const reasons = outcomes.flatMap((outcome) => (outcome.kind === 'failed' ? [outcome.reason] : []));
  if (reasons.length === 0) return [];
  return [`${reasons.length} of ${outcomes.length} answers wrong: ${[...new Set(reasons)].slice(0, 3).join(' | ')}`];
}

interface Measurements {
  readonly options: BenchOptions;
  readonly samples: readonly Sample[];
  readonly workloads: readonly Paced[];
  readonly seconds: number;
  readonly notes: readonly string[];
}

const UNITS: Readonly<Record<string, string>> = {
  ttftP50: 'ms',
  ttftP99: 'ms',
  tpotP50: 'ms',
  tpotP99: 'ms',
  hitRate: 'share',
  computedOnPrefill: 'share',
  pulledPerRequest: 'KiB',
  throughput: '1/s',
};

function reportOf({ options, samples, workloads, seconds, notes }: Measurements): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const { prefill, decode } = options.pools;
  return {
    name: 'vllm',
    ratio,
    baseline: {
      vllmRouter: `${VLLM_ROUTER_VERSION}, P/D over NIXL, policy cache_aware`,
      vllmRouterKvAware: 'the same with policy kv_aware',
    },
    runs: options.runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(workloads.flatMap(({ name }) => Object.entries(UNITS).map(([metric, unit]) => [`${name}.${metric}`, unit]))),
    notes: [
      `${prefill} prefill + ${decode} decode instances of real vLLM with random weights, started once by sluice up; all contenders in front of the same ones, nothing pinned by the bench`,
      'prompts have new bytes in every run, same lengths and structure: no run finds the KV of another',
      ...workloads.map((workload) => describeLoad(workload, seconds)),
      `hitRate: share of prompt tokens that no instance computed, by vLLM's counters; pulledPerRequest: KV moved from prefill to decode; throughput: requests/s, closed loop, ${CONNECTIONS} connections`,
      `Sluice's agents and its readiness probe (one short request in 5 s) run beside the instances during all runs`,
      ...notes,
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}

function describeLoad({ name, requests, ratePerSecond, saturatedPerSecond }: Paced, seconds: number): string {
  const some = atRate(requests, ratePerSecond, seconds);
  const mean = (values: readonly number[]) => formatFigure(values.reduce((sum, value) => sum + value, 0) / values.length);
  const prompts = mean(some.map(({ promptTokens }) => promptTokens));
  const outputs = mean(some.map(({ outputTokens }) => outputTokens));
  const best = Object.entries(saturatedPerSecond).map(([front, rate]) => `${front} ${formatFigure(rate)}`);
  return `${name}: Mooncake conversation trace, lengths / ${DIVISOR}, ${some.length} requests in ${seconds} s (${formatFigure(ratePerSecond)}/s = ${SHARE_OF_SATURATION} of what the slowest did: ${best.join(', ')}), mean ${prompts} prompt and ${outputs} output tokens, an endless cache would hit ${formatFigure(cacheableShare(some, BLOCK_TOKENS))}`;
}
