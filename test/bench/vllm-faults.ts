/**
 * The same kill under the same load for Sluice and for vllm-router: a prefill instance dies with all its processes in the middle of the
 * run and `sluice up` starts it again. Counted is which of the greedy requests came back whole and with the text that one vLLM alone
 * gives, which is asked afterwards.
 */
import type { Children } from './children.ts';
import { describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import { pythonPeer } from './peers.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import { formatFigure, type Report } from './report.ts';
import { answersOf, failuresOf, findRate, latencies, type Stand, startStand } from './vllm-bench.ts';
import { type Outcome, streamCompletion } from './vllm-client.ts';
import { type Front, OURS, ourFront, startVllmRouter, VLLM_ROUTER_VERSION } from './vllm-contenders.ts';
import { Relay } from './vllm-relay.ts';
import { type Planned, type Played, replay } from './vllm-replay.ts';
import { freshPlan, readWorkloads, type Workload } from './vllm-workload.ts';

const DEFAULT_SECONDS = 90;
/** When the instance is killed, as a share of the run. */
const KILL_AT = 0.2;
const VICTIM = 'prefill-0';
const PATIENCE_MS = 60_000;
const TRUTH_LIMIT_MS = 60_000;
const TRUTH_CONNECTIONS = 4;

interface Scene extends Stand {
  /** By instance. */
  readonly relays: ReadonlyMap<string, Relay>;
}

export async function benchVllmFaults(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  const notes: string[] = [];
  const router = await pythonPeer('vllm-router', VLLM_ROUTER_VERSION, children, progress);
  const stand = await startStand(options.pools, children, progress);
  const relays = new Map<string, Relay>();
  try {
    const fronts = [ourFront(stand.deployment)];
    if (router.kind === 'missing') notes.push(`left out vllmRouter: ${router.reason}`);
    else fronts.push(await frontWithRelays(stand, children, router.command, relays));
    const [workload] = readWorkloads();
    if (!workload) throw new Error('there is no workload');
    const { ratePerSecond } = await findRate(stand, fronts, workload);
    const seconds = options.seconds ?? DEFAULT_SECONDS;
    const samples: Sample[] = [];
    for (let repeat = 0; repeat < options.runs; repeat += 1) {
      for (const front of rotate(fronts, repeat)) {
        progress.step(`run ${repeat + 1}/${options.runs}: ${front.name}, kill -9 of ${VICTIM} after ${formatFigure(seconds * KILL_AT)} s`);
        const plan = freshPlan(workload, ratePerSecond, seconds);
        const { figures, outageMs, failures } = await killUnderLoad({ ...stand, relays }, front, plan);
        for (const [metric, value] of Object.entries(figures)) samples.push({ repeat, contender: front.name, metric, value });
        for (const told of [`${VICTIM} was away for ${formatFigure(outageMs / 1000)} s`, ...failures]) {
          notes.push(`${front.name}, run ${repeat + 1}: ${told}`);
        }
      }
    }
    return reportOf(options, samples, [describeLoad(workload, ratePerSecond, seconds), ...notes]);
  } finally {
    progress.step('stopping');
    for (const relay of relays.values()) relay.down();
    await stand.deployment.stop();
  }
}

/** vllm-router is told addresses once, and an instance comes back on another port: it gets addresses that stay. */
async function frontWithRelays(
  { deployment, progress }: Stand,
  children: Children,
  command: string,
  relays: Map<string, Relay>,
): Promise<Front> {
  const backends = [];
  for (const { id, role, requestUrl } of await deployment.running.instances()) {
    const relay = await Relay.to(portOf(requestUrl));
    relays.set(id, relay);
    backends.push({ url: `http://127.0.0.1:${relay.port}`, role, events: null });
  }
  progress.step('starting vllm-router');
  return startVllmRouter(children, command, backends, { name: 'vllmRouter', policy: 'cache_aware', watchful: true });
}

interface Survival {
  readonly figures: Readonly<Record<string, number>>;
  readonly outageMs: number;
  readonly failures: readonly string[];
}

async function killUnderLoad({ deployment, relays }: Scene, front: Front, plan: readonly Planned[]): Promise<Survival> {
  front.check();
  const { incarnation } = await deployment.running.serving(VICTIM);
  const killedMs = (plan.at(-1)?.atMs ?? 0) * KILL_AT;
  const began = performance.now();
  const playing = replay(front.url, plan, PATIENCE_MS);
  await new Promise((resolve) => setTimeout(resolve, killedMs));
  deployment.running.kill(VICTIM);
  relays.get(VICTIM)?.down();
  const next = await deployment.running.serving(VICTIM, incarnation);
  await relays.get(VICTIM)?.up(portOf(next.requestUrl));
  const backMs = performance.now() - began;
  const played = await playing;
  const outcomes = await comparedWithTruth(await truthUrl(deployment), plan, played);
  const hit = outcomes.filter((_, index) => touches(played[index], killedMs, backMs));
  const all = outcomes.map((outcome) => (outcome.kind === 'answered' ? 1 : 0));
  return {
    figures: {
      survived: mean(all),
      survivedOutage: mean(hit.map((outcome) => (outcome.kind === 'answered' ? 1 : 0))),
      ...latencies(answersOf(outcomes)),
    },
    outageMs: backMs - killedMs,
    failures: failuresOf(outcomes),
  };
}

/** Was it under way, or did it start, while the instance was away? */
function touches(played: Played | undefined, killedMs: number, backMs: number): boolean {
  return played !== undefined && played.endedMs >= killedMs && played.startedMs <= backMs;
}

async function truthUrl(deployment: Stand['deployment']): Promise<string> {
  const decode = (await deployment.running.instances()).find(({ role, connected }) => role === 'decode' && connected);
  if (!decode) throw new Error('no decode instance is left to ask for the right texts');
  return decode.requestUrl;
}

/** Answers with another text than one vLLM gives alone become failures. Its own salt keeps what the run left in its cache out of it. */
async function comparedWithTruth(url: string, plan: readonly Planned[], played: readonly Played[]): Promise<Outcome[]> {
  const compared: Outcome[] = played.map(({ outcome }) => outcome);
  let at = 0;
  const turn = async (): Promise<void> => {
    const index = at++;
    const [planned, outcome] = [plan[index], compared[index]];
    if (!planned || !outcome) return;
    if (outcome.kind === 'answered') {
      const body = planned.body.replace(/\}$/, ',"cache_salt":"truth"}');
      const truth = await streamCompletion({ url, body, tokens: planned.tokens }, AbortSignal.timeout(TRUTH_LIMIT_MS));
      if (truth.kind === 'failed') throw new Error(`one vLLM alone does not answer: ${truth.reason}`);
      if (truth.text !== outcome.text) {
        compared[index] = { kind: 'failed', reason: `another text: ${JSON.stringify([outcome.text, truth.text]).slice(0, 160)}` };
      }
    }
    return turn();
  };
  await Promise.all(Array.from({ length: TRUTH_CONNECTIONS }, turn));
  return compared;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

function describeLoad({ name }: Workload, ratePerSecond: number, seconds: number): string {
  return `${name} of the Mooncake trace at ${formatFigure(ratePerSecond)} requests/s for ${seconds} s; ${VICTIM} gets kill -9 with all its processes after ${formatFigure(seconds * KILL_AT)} s, and sluice up starts it again`;
}

function reportOf(options: BenchOptions, samples: readonly Sample[], notes: readonly string[]): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const { prefill, decode } = options.pools;
  return {
    name: 'vllm faults',
    ratio,
    baseline: { vllmRouter: `${VLLM_ROUTER_VERSION}, P/D over NIXL, policy cache_aware, looks after its instances every second` },
    runs: options.runs,
    machine: describeMachine(),
    absolute,
    units: {
      survived: 'share',
      survivedOutage: 'share',
      ttftP50: 'ms',
      ttftP99: 'ms',
      tpotP50: 'ms',
      tpotP99: 'ms',
    },
    notes: [
      `${prefill} prefill + ${decode} decode instances of real vLLM with random weights under sluice up, the same for both`,
      'survived: greedy requests answered whole, with the text that one vLLM alone gives; survivedOutage: of those that were under way or came while the instance was away; latencies: of those that survived',
      'vllm-router reaches the instances through TCP relays with addresses that stay, since a restarted vLLM has another port',
      ...notes,
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}
