/**
 * The switch bench: a session of a real llama.cpp engine whose HBM has room for one is parked, because others take its place, and comes
 * back with its next turn. Time to the first token of that turn when the KV comes back from host memory, and from the store folder,
 * against the same engine without either, which computes the session again.
 */
import path from 'node:path';
import { hexNumber } from '../../src/kv/index.ts';
import { seededRandom } from './arrivals.ts';
import type { Children } from './children.ts';
import { allowedCores, describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { type Engine, isRecord, MODEL, startEngine } from './sluice.ts';
import { randomTokens } from './tokens.ts';
import { sumOf } from './vllm-counters.ts';

const LENGTHS = [512, 2048, 8192] as const;
/** Not counted: code paths get compiled, the store's speed is learnt, memory is there. */
const WARM_ROUNDS = 2;
const BLOCK_TOKENS = 16;
/** Of the built-in model. */
const TOKEN_BYTES = 1024;
const TURN_TOKENS = 32;
const ANSWER_TOKENS = 16;
/** Room for the session with its next turn and answer, and for no other session beside it. */
const MORE_TOKENS = TURN_TOKENS + 2 * ANSWER_TOKENS;
const LEAST_HOST_BYTES = 4 * 2 ** 20;
/** Of the store, in sessions: what it gives up is never what comes back next. */
const STORED_SESSIONS = 32;
const ASK_LIMIT_MS = 60_000;
const STORE_LIMIT_MS = 20_000;
const POLL_MS = 10;
const OURS = 'sluice';
const BASELINE = 'recompute';

type Tier = 'host' | 'store';

/** One engine, and what its session is pushed out by. */
interface Contender {
  /** Where the session's KV is when its next turn comes; null = nowhere. */
  readonly tier: Tier | null;
  readonly engine: Engine;
  readonly others: number;
}

export async function benchSwitch(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  const samples: Sample[] = [];
  for (const [at, length] of LENGTHS.entries()) {
    progress.step(`starting three llama.cpp engines: ${length} tokens`);
    const contenders = await startContenders(children, length);
    for (let repeat = -WARM_ROUNDS; repeat < options.runs; repeat += 1) {
      progress.step(repeat < 0 ? `warming up: ${length} tokens` : `run ${repeat + 1}/${options.runs}: ${length} tokens`);
      const seed = 1_000 * at + WARM_ROUNDS + repeat;
      for (const sample of await measureRound(contenders, length, { seed, repeat })) if (repeat >= 0) samples.push(sample);
    }
    await Promise.all(contenders.map(({ engine }) => engine.child.stop()));
  }
  return reportOf(samples, options.runs);
}

async function startContenders(children: Children, length: number): Promise<Contender[]> {
  const contextTokens = length + MORE_TOKENS;
  const sessionBytes = contextTokens * TOKEN_BYTES;
  const hostBytes = Math.max(LEAST_HOST_BYTES, sessionBytes);
  const store = {
    path: path.join(children.folder, `store-${length}`),
    capacityBytes: Math.max(LEAST_HOST_BYTES, STORED_SESSIONS * sessionBytes),
  };
  const [core] = allowedCores();
  const size = [
    '--context',
    String(contextTokens),
    '--hbm-bytes',
    String(sessionBytes),
    '--sequences',
    '4',
    '--block-tokens',
    String(BLOCK_TOKENS),
  ];
  const start = (id: string, flags: readonly string[]) =>
    startEngine(children, { type: 'llamacpp', role: 'mixed', id, cores: core === undefined ? null : [core], flags: [...size, ...flags] });
  return [
    { tier: 'host', engine: await start(`host-${length}`, ['--host-bytes', String(2 ** 28)]), others: 1 },
    {
      tier: 'store',
      engine: await start(`store-${length}`, ['--host-bytes', String(hostBytes), '--store', JSON.stringify(store)]),
      // As many as host memory holds, one in HBM, and one for what was rounded.
      others: Math.ceil(hostBytes / sessionBytes) + 2,
    },
    { tier: null, engine: await start(`none-${length}`, ['--host-bytes', '0']), others: 1 },
  ];
}

/** The same session on every engine; its next answer must be the same, too. */
async function measureRound(
  contenders: readonly Contender[],
  length: number,
  { seed, repeat }: { readonly seed: number; readonly repeat: number },
): Promise<Sample[]> {
  const switches = new Map<Tier | null, Switch>();
  for (const contender of rotate(contenders, Math.max(0, repeat)))
    switches.set(contender.tier, await parkAndResume(contender, length, seed));
  const [host, store, none] = [switches.get('host'), switches.get('store'), switches.get(null)];
  if (!host || !store || !none) throw new Error('a contender is missing');
  for (const [tier, { answer }] of switches) {
    if (answer !== none.answer) throw new Error(`resumed from ${tier} the session says ${answer}, computed again ${none.answer}`);
  }
  const sample = (metric: string, contender: string, value: number) => ({ repeat, contender, metric: `${metric}.${length}`, value });
  return [
    sample('host', OURS, host.ttftMs),
    sample('host', BASELINE, none.ttftMs),
    sample('store', OURS, store.ttftMs),
    sample('store', BASELINE, none.ttftMs),
    sample('storeRead', OURS, store.readMs),
    sample('park', OURS, host.parkMs),
    sample('park', BASELINE, none.parkMs),
  ];
}

interface Switch {
  /** Of the next turn, as its client sees it. */
  readonly ttftMs: number;
  /** Until the first of the others has its slot: the session's KV is then out of HBM. */
  readonly parkMs: number;
  /** Of the time to the first token: until the store had given all. */
  readonly readMs: number;
  readonly answer: string;
}

async function parkAndResume({ tier, engine, others }: Contender, length: number, seed: number): Promise<Switch> {
  const random = seededRandom(seed);
  const opening = randomTokens(length - ANSWER_TOKENS, random);
  const turn = randomTokens(TURN_TOKENS, random);
  const before = new Set(await keysInHbm(engine));
  const first = await ask(engine, opening, ANSWER_TOKENS);
  const keys = (await keysInHbm(engine)).filter((key) => !before.has(key));
  let parkMs = Number.NaN;
  for (let other = 0; other < others; other += 1) {
    const { report } = await ask(engine, randomTokens(length + MORE_TOKENS - 2, random), 1);
    if (other === 0) parkMs = Number(report['queueMs']);
  }
  // The KV of the last token of an answer is never computed, so that its block is not whole.
  const parked = Math.floor((length - 1) / BLOCK_TOKENS);
  if (keys.length !== parked) throw new Error(`the session has ${keys.length} blocks, expected ${parked}`);
  await expectParked(engine, keys, tier);
  const readBefore = await storeReadBytes(engine);
  const next = await ask(engine, [...opening, ...first.tokens, ...turn], ANSWER_TOKENS);
  expectResumed(next.report, { tier, tokens: parked * BLOCK_TOKENS, readBytes: (await storeReadBytes(engine)) - readBefore });
  const onboard = next.report['onboard'];
  return { ttftMs: next.ttftMs, parkMs, readMs: isRecord(onboard) ? Number(onboard['ms']) : Number.NaN, answer: next.tokens.join() };
}

async function keysInHbm({ url }: Engine): Promise<string[]> {
  const page: unknown = await (await fetch(`${url}/sluice/kv/blocks?limit=4096`)).json();
  const tiers = isRecord(page) ? page['tiers'] : null;
  const hbm = isRecord(tiers) ? tiers['hbm'] : null;
  if (!isRecord(hbm) || !Array.isArray(hbm['keys'])) throw new Error(`${url}/sluice/kv/blocks does not say what is in HBM`);
  return hbm['keys'].map(String);
}

/** All of it is in the tier that is measured, and nothing in those above. Waits for what is being written. */
async function expectParked({ url, id }: Engine, keys: readonly string[], tier: Tier | null): Promise<void> {
  const body = JSON.stringify({ keys: keys.map(hexNumber) });
  const until = performance.now() + STORE_LIMIT_MS;
  for (;;) {
    const answer = await fetch(`${url}/sluice/kv/where`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    const held: unknown = await answer.json();
    if (!isRecord(held)) throw new Error(`${url}/sluice/kv/where answered ${answer.status}`);
    const wanted = { hbm: 0, host: tier === 'host' ? keys.length : 0, store: tier === 'store' ? keys.length : 0 };
    if (Object.entries(wanted).every(([name, blocks]) => held[name] === blocks)) return;
    if (performance.now() > until)
      throw new Error(`${id}: the session's ${keys.length} blocks are in ${JSON.stringify(held)}, expected ${JSON.stringify(wanted)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** By the report of the request and by the store's own counter: it was read from where it is said to be, and only the rest was computed. */
function expectResumed(
  report: Readonly<Record<string, unknown>>,
  { tier, tokens, readBytes }: { readonly tier: Tier | null; readonly tokens: number; readonly readBytes: number },
): void {
  const wanted = { hbm: 0, host: tier === 'host' ? tokens : 0, peer: 0, store: tier === 'store' ? tokens : 0 };
  const { reused } = report;
  const isAsWanted = isRecord(reused) && Object.entries(wanted).every(([name, count]) => reused[name] === count);
  const isRead = tier === 'store' ? readBytes >= tokens * TOKEN_BYTES : readBytes === 0;
  if (isAsWanted && isRead) return;
  throw new Error(
    `expected ${JSON.stringify(wanted)} tokens of the session to be reused: ${readBytes} bytes read from the store, ${JSON.stringify(report)}`,
  );
}

async function storeReadBytes({ url }: Engine): Promise<number> {
  return sumOf(await (await fetch(`${url}/metrics`)).text(), 'sluice_kv_store_read_bytes_total', '');
}

interface Asked {
  /** Answers begin with the first token. */
  readonly ttftMs: number;
  readonly tokens: readonly number[];
  readonly report: Readonly<Record<string, unknown>>;
}

async function ask(engine: Engine, prompt: readonly number[], maxTokens: number): Promise<Asked> {
  const askedAt = performance.now();
  const answer = await fetch(`${engine.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-sluice-tokens': '1' },
    body: JSON.stringify({ model: MODEL, prompt, max_tokens: maxTokens, temperature: 0, ignore_eos: true, stream: true }),
    signal: AbortSignal.timeout(ASK_LIMIT_MS),
  });
  const ttftMs = performance.now() - askedAt;
  const text = await answer.text();
  if (!answer.ok || !text.endsWith('data: [DONE]\n\n'))
    throw new Error(`engine ${engine.id} answered ${answer.status}: ${text.slice(0, 300)}`);
  const report: unknown = JSON.parse(answer.headers.get('x-sluice-report') ?? 'null');
  if (!isRecord(report)) throw new Error(`engine ${engine.id} sent no prompt report`);
  const tokens = [...text.matchAll(/^: ([\d,]+)/gm)].flatMap(([, ids = '']) => ids.split(',').map(Number));
  if (tokens.length !== maxTokens) throw new Error(`engine ${engine.id} told ${tokens.length} of ${maxTokens} tokens`);
  return { ttftMs, tokens, report };
}

function reportOf(samples: readonly Sample[], runs: number): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const units = LENGTHS.flatMap((length) => ['host', 'store', 'storeRead', 'park'].map((kind) => [`${kind}.${length}`, 'ms']));
  const compared = Object.entries(ratio).filter(([name]) => /^(?:host|store)\./.test(name));
  return {
    name: 'switch',
    ratio: Object.fromEntries(compared.map(([name, value]) => [`switch.${name}`, value])),
    baseline: {
      [BASELINE]:
        'the same engine without host memory and store computes the session again (ratio of times to the first token: small is good)',
    },
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(units),
    notes: [
      `host, store: from the next turn (${TURN_TOKENS} tokens behind N) to its first token, as its client sees it; pushing the other session out is part of it`,
      'storeRead: of it, until the store had given all; it wrote the files shortly before, so that they come from the page cache, not from the disk',
      'park: until the session that comes has its slot and the KV of N tokens is in host memory; of recompute: is forgotten',
      'every resumed answer had the tokens of the one that was computed again; report and counters of the engine say that all whole blocks came from where they should',
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}
