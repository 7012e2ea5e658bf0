/** The operator bench: how long pods take to come about, and what many deployments that need nothing cost. */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { cpuMsBetween, readCpu } from './cpu.ts';
import { describeMachine } from './machine.ts';
import { type Applied, OperatorScene, PODS_EACH } from './operator-scene.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { quantiles } from './quantiles.ts';
import { compare, type Sample } from './ratio.ts';
import type { Report } from './report.ts';

const OURS = 'sluice';
const SIZES = [1, 100, 1_000] as const;
/** Events are told at a pace of their own, long after all else is at rest: until nothing has been written for so long. */
const QUIET_MS = 12_000;
const QUIET_WITHIN_MS = 300_000;
/** As long as it takes until every deployment was looked at once more: they settle together, and are looked at together. */
const IDLE_SECONDS = (deployments: number) => Math.max(60, deployments / 5);
const EMPTY_MS = 10_000;

export async function benchOperator(options: BenchOptions, progress: Progress): Promise<Report> {
  const samples: Sample[] = [];
  const sizes = [...new Set(SIZES.map((size) => Math.min(size, options.deployments)))];
  if (!sizes.includes(options.deployments)) sizes.push(options.deployments);
  for (let repeat = 0; repeat < options.runs; repeat += 1) {
    const add = (metric: string, value: number) => samples.push({ repeat, contender: OURS, metric, value });
    progress.step(`run ${repeat + 1}/${options.runs}: starting an API server`);
    const scene = await OperatorScene.start();
    try {
      await scene.operator.said('rounds begin');
      await measureEmpty(scene, { add, progress });
      let before = 0;
      for (const size of sizes) {
        const { pid } = scene.operator;
        const [cpuBefore, startMs] = [readCpu(pid), performance.now()];
        const applied = await scene.apply(size - before, (text) => progress.step(text));
        const cpuMs = cpuMsBetween(cpuBefore, readCpu(pid));
        addApplied(add, size, applied);
        add(`loaded.${size}.cpu`, cpuMs / (performance.now() - startMs));
        add(`loaded.${size}.cpuMsPerDeployment`, cpuMs / (size - before));
        add(`loaded.${size}.rss`, memoryMiB(pid, 'VmRSS'));
        before = size;
      }
      add('setUp.writesPerDeployment', writesOf(scene).length / before);
      await measureIdle(scene, (options.seconds ?? IDLE_SECONDS(options.deployments)) * 1_000, { add, progress });
    } finally {
      await scene.stop();
    }
  }
  return reportOf(samples, options);
}

type Add = (metric: string, value: number) => void;

function addApplied(add: Add, size: number, { podsMs, settledMs }: Applied): void {
  const { p50, p99 } = quantiles(podsMs);
  add(`applyToPods.${size}.p50`, p50);
  add(`applyToPods.${size}.p99`, p99);
  add(`applyToSettled.${size}.all`, settledMs);
}

function writesOf(scene: OperatorScene) {
  return scene.requests().filter(({ verb, resource }) => !['get', 'list', 'watch'].includes(verb) && resource !== 'leases');
}

/** Nothing to look after. */
async function measureEmpty(scene: OperatorScene, { add, progress }: { add: Add; progress: Progress }): Promise<void> {
  progress.step(`empty for ${EMPTY_MS / 1_000} s`);
  const { pid } = scene.operator;
  const [cpuBefore, startMs] = [readCpu(pid), performance.now()];
  await delay(EMPTY_MS);
  add('empty.cpu', cpuMsBetween(cpuBefore, readCpu(pid)) / (performance.now() - startMs));
  add('empty.rss', memoryMiB(pid, 'VmRSS'));
}

async function measureIdle(scene: OperatorScene, forMs: number, { add, progress }: { add: Add; progress: Progress }): Promise<void> {
  await untilQuiet(scene, progress);
  progress.step(`idle for ${forMs / 1_000} s`);
  const { pid } = scene.operator;
  const [cpuBefore, startMs] = [readCpu(pid), performance.now()];
  const [roundsBefore, since] = [await scene.metric('sluice_operator_rounds_total'), new Date().toISOString()];
  await delay(forMs);
  const [cpuAfter, endMs] = [readCpu(pid), performance.now()];
  const rounds = (await scene.metric('sluice_operator_rounds_total')) - roundsBefore;
  const requests = scene.requests().filter(({ at, resource }) => at >= since && resource !== 'leases');
  add('idle.cpu', cpuMsBetween(cpuBefore, cpuAfter) / (endMs - startMs));
  add('idle.rss', memoryMiB(pid, 'VmRSS'));
  add('idle.rssPeak', memoryMiB(pid, 'VmHWM'));
  add('idle.roundsPerSecond', (rounds * 1_000) / (endMs - startMs));
  // Watches end and begin anew every some minutes whatever rounds do.
  add('idle.requestsPerRound', requests.filter(({ verb }) => verb !== 'watch').length / rounds);
  add('idle.writesPerRound', writesOf(scene).filter(({ at }) => at >= since).length / rounds);
}

async function untilQuiet(scene: OperatorScene, progress: Progress): Promise<void> {
  const deadline = performance.now() + QUIET_WITHIN_MS;
  for (;;) {
    const last = Date.parse(writesOf(scene).at(-1)?.at ?? '');
    if (Date.now() - last > QUIET_MS) return;
    if (performance.now() > deadline) throw new Error(`the operator still writes after ${QUIET_WITHIN_MS} ms`);
    progress.step('waiting for the last events to be told');
    await delay(QUIET_MS / 4);
  }
}

/** @param field of /proc/<pid>/status, in KiB there */
function memoryMiB(pid: number, field: string): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN) / 1_024;
}

const UNITS: readonly (readonly [RegExp, string])[] = [
  [/^applyTo|cpuMs/, 'ms'],
  [/\.cpu$/, 'cores'],
  [/\.rss/, 'MiB'],
  [/PerSecond$/, 'per s'],
  [/./, 'count'],
];

function reportOf(samples: readonly Sample[], { runs, deployments }: BenchOptions): Report {
  const { absolute } = compare(samples, OURS);
  const unitOf = (metric: string) => UNITS.find(([pattern]) => pattern.test(metric))?.[1] ?? '';
  return {
    name: 'operator',
    ratio: {},
    baseline: {},
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(samples.map(({ metric }) => [metric, unitOf(metric)])),
    notes: [
      `applyToPods.N: from the request for a deployment until the last of its ${PODS_EACH} pods is seen, those that make it N applied at the same time`,
      'loaded.N: while the deployments that make it N come up; empty: with none',
      `idle: under ${deployments} settled deployments; targets: 300 MiB, 0.05 cores, no writes`,
      'API server, etcd, simulated kubelet and operator share the machine; nothing is pinned',
    ],
  };
}
