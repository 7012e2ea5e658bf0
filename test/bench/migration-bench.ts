/**
 * The migration bench: a stream that a real llama.cpp engine decodes is moved to another one by `drain` of the router, while a client
 * reads it. The pause that the client sees, in milliseconds and in inter-token times of the same stream, against taking the stream up
 * by computing its context again.
 */
import { seededRandom } from './arrivals.ts';
import type { Children } from './children.ts';
import { allowedCores, describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { median } from './quantiles.ts';
import { compare, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { type Engine, isRecord, MODEL, type Router, startEngine, startRouter } from './sluice.ts';
import { randomTokens } from './tokens.ts';

const LENGTHS = [512, 2048, 8192] as const;
/** Moved first and not counted: code paths get compiled, connections and memory are there. */
const WARM_LENGTHS = [512, 512, 2048, 8192] as const;
const CONTEXT_TOKENS = 8448;
const BLOCK_TOKENS = 16;
const SEQUENCES = 8;
/** What the move may take at the longest context, several times over; prompt and answer fit the context. */
const OUTPUT_TOKENS = 240;
/** The stream is moved when so many tokens have come. */
const MOVE_AT = 60;
const ASK_LIMIT_MS = 120_000;
const OURS = 'sluice';
const BASELINE = 'recompute';

export async function benchMigration(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  progress.step('starting two llama.cpp engines and a router');
  const bed = await startBed(children);
  const samples: Sample[] = [];
  const rounds = [
    ...WARM_LENGTHS.map((length) => ({ length, repeat: -1 })),
    ...Array.from({ length: options.runs }, (_, repeat) => LENGTHS.map((length) => ({ length, repeat }))).flat(),
  ];
  for (const [seed, { length, repeat }] of rounds.entries()) {
    progress.step(repeat < 0 ? `warming up: ${length} tokens` : `run ${repeat + 1}/${options.runs}: ${length} tokens`);
    const random = seededRandom(seed);
    const moved = await move(bed, `move-${seed}`, randomTokens(length, random));
    const again = await recompute(bed, randomTokens(length, random));
    if (repeat < 0) continue;
    const add = (metric: string, contender: string, value: number) =>
      samples.push({ repeat, contender, metric: `${metric}.${length}`, value });
    add('pause', OURS, moved.pauseMs);
    add('pause', BASELINE, again.pauseMs);
    add('pauseTokens', OURS, moved.pauseMs / moved.interTokenMs);
    add('pauseTokens', BASELINE, again.pauseMs / again.interTokenMs);
    add('switch', OURS, moved.switchMs);
    add('switchTokens', OURS, moved.switchMs / moved.interTokenMs);
    add('interToken', OURS, moved.interTokenMs);
    add('interToken', BASELINE, again.interTokenMs);
    add('move', OURS, moved.tookMs);
  }
  return reportOf(samples, options.runs);
}

interface Bed {
  readonly engines: readonly [Engine, Engine];
  readonly router: Router;
}

async function startBed(children: Children): Promise<Bed> {
  const [first, second] = allowedCores();
  const size = ['--context', String(CONTEXT_TOKENS), '--sequences', String(SEQUENCES), '--block-tokens', String(BLOCK_TOKENS)];
  const flags = [...size, '--hbm-bytes', String(2 ** 30), '--host-bytes', String(2 ** 28)];
  const engine = (id: string, core: number | undefined) =>
    startEngine(children, { type: 'llamacpp', role: 'mixed', id, cores: core === undefined ? null : [core], flags });
  const engines = [await engine('one', first), await engine('other', second)] as const;
  const router = await startRouter(children, engines, { cores: null, nodeFlags: [], flags: [] });
  return { engines, router };
}

interface Moved {
  /** The longest time between two events from the order on: what was copied meanwhile may hold the source up, too. */
  readonly pauseMs: number;
  /** From the source's last token to the target's first, as the router has it. */
  readonly switchMs: number;
  /** Median before the order. */
  readonly interTokenMs: number;
  /** The whole move. */
  readonly tookMs: number;
}

async function move({ engines, router }: Bed, id: string, prompt: readonly number[]): Promise<Moved> {
  const url = `http://127.0.0.1:${router.port}`;
  let orderedAt = Number.POSITIVE_INFINITY;
  const drained: Promise<string>[] = [];
  const times = await stream(url, prompt, {
    headers: { 'x-request-id': id },
    onEvent: (count) => {
      if (count < MOVE_AT || drained.length > 0) return;
      orderedAt = performance.now();
      drained.push(drainBusy(router));
    },
  });
  const [emptied] = await Promise.all(drained);
  if (emptied === undefined) throw new Error(`the stream ended after ${times.length} events, before it could be moved`);
  await fetch(`${router.adminUrl}/admin/instances/${emptied}/undrain`, { method: 'POST' });
  const record: unknown = await (await fetch(`${router.adminUrl}/admin/requests/${id}`)).json();
  const moves = isRecord(record) && Array.isArray(record['moves']) ? record['moves'] : [];
  const [one] = moves as { state: string; reason: string | null; pauseMs: number | null; tookMs: number; blocks: number }[];
  if (one?.state !== 'released' || one.pauseMs === null) throw new Error(`the stream was not moved: ${JSON.stringify(moves)}`);
  const needed = Math.floor(prompt.length / BLOCK_TOKENS);
  if (one.blocks < needed)
    throw new Error(`${one.blocks} of at least ${needed} blocks were pulled between ${engines.map((engine) => engine.id).join(' and ')}`);
  return { pauseMs: longestGap(times, orderedAt), switchMs: one.pauseMs, interTokenMs: usualGap(times, orderedAt), tookMs: one.tookMs };
}

/** Drains the instance that has a request. @returns its id */
async function drainBusy({ adminUrl }: Router): Promise<string> {
  const list: unknown = await (await fetch(`${adminUrl}/admin/instances`)).json();
  const instances = isRecord(list) && Array.isArray(list['instances']) ? (list['instances'] as { id: string; inFlight: number }[]) : [];
  const busy = instances.find(({ inFlight }) => inFlight > 0);
  if (!busy) throw new Error('no instance has a request');
  const answer = await fetch(`${adminUrl}/admin/instances/${busy.id}/drain?timeoutMs=20000`, { method: 'POST' });
  if (!answer.ok) throw new Error(`drain was answered ${answer.status}: ${await answer.text()}`);
  return busy.id;
}

/** The first engine decodes, is left, and the second takes the stream up from its tokens alone: what happens without a move. */
async function recompute({ engines: [from, to] }: Bed, prompt: readonly number[]): Promise<Pick<Moved, 'pauseMs' | 'interTokenMs'>> {
  const tokens: number[] = [];
  const stop = new AbortController();
  const times = await stream(from.url, prompt, {
    headers: { 'x-sluice-tokens': '1', 'x-sluice-seed': '1' },
    signal: stop.signal,
    onTokens: (ids) => tokens.push(...ids),
    onEvent: (count) => {
      if (count >= MOVE_AT) stop.abort();
    },
  });
  const next = new AbortController();
  const [first] = await stream(to.url, prompt, {
    headers: { 'x-sluice-resume': tokens.join(','), 'x-sluice-seed': '1' },
    signal: next.signal,
    onEvent: () => next.abort(),
  });
  const last = times.at(-1);
  if (first === undefined || last === undefined) throw new Error('no events came');
  return { pauseMs: first - last, interTokenMs: usualGap(times, Number.POSITIVE_INFINITY) };
}

interface Reading {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly onEvent: (count: number) => void;
  readonly onTokens?: (ids: readonly number[]) => void;
}

/** When each event with text came. Ends with the stream, or quietly when it is aborted. */
async function stream(url: string, prompt: readonly number[], { headers, signal, onEvent, onTokens }: Reading): Promise<number[]> {
  const limit = AbortSignal.timeout(ASK_LIMIT_MS);
  const answer = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: MODEL, prompt, max_tokens: OUTPUT_TOKENS, temperature: 0, ignore_eos: true, stream: true }),
    signal: signal ? AbortSignal.any([limit, signal]) : limit,
  });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
  const times: number[] = [];
  let pending = '';
  try {
    for await (const chunk of answer.body ?? []) {
      const parts = (pending + Buffer.from(chunk).toString('utf8')).split('\n\n');
      pending = parts.pop() ?? '';
      for (const part of parts) {
        if (part.endsWith('[DONE]')) continue;
        const ids = /^: ([\d,]+)/.exec(part)?.[1];
        if (ids !== undefined) onTokens?.(ids.split(',').map(Number));
        times.push(performance.now());
        onEvent(times.length);
      }
    }
  } catch (thrown) {
    if (signal?.aborted !== true) throw thrown;
  }
  return times;
}

function gaps(times: readonly number[], after: number, before: number): number[] {
  return times.flatMap((time, i) => (i > 0 && time > after && time <= before ? [time - (times[i - 1] as number)] : []));
}

function longestGap(times: readonly number[], after: number): number {
  return Math.max(...gaps(times, after, Number.POSITIVE_INFINITY));
}

/** Of the stream as it ran undisturbed. */
function usualGap(times: readonly number[], before: number): number {
  return median(gaps(times, times[4] ?? 0, before));
}

function reportOf(samples: readonly Sample[], runs: number): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const kinds = {
    pause: 'ms',
    pauseTokens: 'inter-token times',
    switch: 'ms',
    switchTokens: 'inter-token times',
    interToken: 'ms',
    move: 'ms',
  };
  const units = LENGTHS.flatMap((length) => Object.entries(kinds).map(([kind, unit]) => [`${kind}.${length}`, unit]));
  const compared = Object.entries(ratio).filter(([name]) => name.startsWith('pause.'));
  return {
    name: 'migration',
    ratio: Object.fromEntries(compared.map(([name, value]) => [`migration.${name}`, value])),
    baseline: {
      [BASELINE]: 'the first engine is left and the second one computes prompt and tokens again (ratio of pauses: small is good)',
    },
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(units),
    notes: [
      'pause: the longest time between two events that the client saw from the order to drain on, copying included; recompute: from the last event of the one to the first of the other',
      'switch: from the last token of the source to the first of the target, in the router',
      'interToken: median between two events of the same stream before; move: from the order to the source’s release',
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}
