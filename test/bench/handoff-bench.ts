/**
 * The hand-off bench: two real engine processes, one prompt prefilled on the first, its KV pulled by the second, as the engine reports
 * it. Against the prefill itself, recomputing on the decode side, memcpy, and a plain socket copy of the same count of bytes.
 */
import { seededRandom } from './arrivals.ts';
import type { Children } from './children.ts';
import { type CopyPair, startCopyPair } from './copy.ts';
import { allowedCores, describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { type Engine, isRecord, MODEL, startEngine } from './sluice.ts';
import { randomTokens } from './tokens.ts';

const LENGTHS = [512, 2048, 8192] as const;
/** Handed over first and not counted: code paths get compiled, connections and memory are there. */
const WARM_LENGTHS = [512, 512, 512, 512, 2048, 2048, 8192] as const;
const CONTEXT_TOKENS = 8448;
const BLOCK_TOKENS = 16;
const MOST_SEQUENCES = 64;
const ASK_LIMIT_MS = 60_000;
const OURS = 'sluice';

export async function benchHandOff(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  progress.step('starting two llama.cpp engines');
  const { prefill, decode, copy } = await startProcesses(options, children);
  const samples: Sample[] = [];
  const rounds = [
    ...WARM_LENGTHS.map((length) => ({ length, repeat: -1 })),
    ...Array.from({ length: options.runs }, (_, repeat) => LENGTHS.map((length) => ({ length, repeat }))).flat(),
  ];
  for (const [seed, { length, repeat }] of rounds.entries()) {
    progress.step(repeat < 0 ? `warming up: ${length} tokens` : `run ${repeat + 1}/${options.runs}: ${length} tokens`);
    const random = seededRandom(seed);
    const taken = await handOver(prefill, decode, randomTokens(length, random));
    const recomputeMs = (await ask(decode, randomTokens(length, random), {})).prefillMs;
    const idle = await copy.measure(taken.bytes, 0);
    const busy = await copy.measure(taken.bytes, taken.prefillMs);
    if (repeat < 0) continue;
    const add = (metric: string, contender: string, value: number) =>
      samples.push({ repeat, contender, metric: `${metric}.${length}`, value });
    const speed = (ms: number) => taken.bytes / ms / 1e6;
    add('ms', OURS, taken.handOffMs);
    add('ms', 'prefill', taken.prefillMs);
    add('ms', 'recompute', recomputeMs);
    add('speed', OURS, speed(taken.moveMs));
    add('speed', 'socketCopy', speed(idle.socketMs));
    add('speed', 'socketCopyBusy', speed(busy.socketMs));
    add('speed', 'memcpy', speed(idle.memcpyMs));
  }
  return reportOf(samples, options.runs);
}

interface Processes {
  readonly prefill: Engine;
  readonly decode: Engine;
  readonly copy: CopyPair;
}

/** Sender and receiver on a core each, those of the plain copy on the same two. */
async function startProcesses(options: BenchOptions, children: Children): Promise<Processes> {
  const [first, second] = allowedCores();
  const pinned = first !== undefined && second !== undefined;
  const sender = pinned ? [first] : null;
  const receiver = pinned ? [second] : null;
  // A sequence for every request of the run: moving another prompt's KV out of the way is no part of a hand-off.
  const sequences = Math.min(MOST_SEQUENCES, 2 * (LENGTHS.length * options.runs + WARM_LENGTHS.length));
  const size = ['--context', String(CONTEXT_TOKENS), '--sequences', String(sequences), '--block-tokens', String(BLOCK_TOKENS)];
  const flags = [...size, '--hbm-bytes', String(2 ** 30), '--host-bytes', String(2 ** 28)];
  const prefill = await startEngine(children, { type: 'llamacpp', role: 'prefill', id: 'prefill', cores: sender, flags });
  const decode = await startEngine(children, { type: 'llamacpp', role: 'decode', id: 'decode', cores: receiver, flags });
  return { prefill, decode, copy: await startCopyPair(children, sender, receiver) };
}

function reportOf(samples: readonly Sample[], runs: number): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  const units = LENGTHS.flatMap((length) => [
    [`ms.${length}`, 'ms'],
    [`speed.${length}`, 'GB/s'],
  ]);
  // `ms.512.prefill` → `handoff.prefill.512`
  const named = Object.entries(ratio).map(([name, value]) => [name.replace(/^(?:ms|speed)\.(\d+)\.(\w+)$/, 'handoff.$2.$1'), value]);
  return {
    name: 'handoff',
    ratio: Object.fromEntries(named),
    baseline: {
      prefill: 'time of the prompt’s prefill on the prefill engine (ratio of times: small is good)',
      recompute: 'time of prefilling as many tokens on the decode engine instead (ratio of times: small is good)',
      socketCopy: 'as many bytes between two processes over an open loopback socket, unchecked (ratio of speeds: large is good)',
      socketCopyBusy: 'the same, when the sender’s core was busy for as long as the prefill took right before, as ours was',
      memcpy: 'as many bytes within one process (ratio of speeds: large is good)',
    },
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(units),
    notes: [
      'ms: copied out of llama.cpp and kept (prefill side), then connected, asked, received, verified, joined and loaded into llama.cpp (decode side)',
      'speed: connected, asked, received and verified, as the decode engine reports it; the plain copy does none of these but receive',
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}

interface Taken {
  readonly prefillMs: number;
  /** All that the hand-off costs: copied out on the prefill side; moved, joined and loaded on the decode side. */
  readonly handOffMs: number;
  /** Of it: the bytes' way from process to process, verified. */
  readonly moveMs: number;
  readonly bytes: number;
}

/** One prompt through both engines. Throws unless every block of it was handed over. */
async function handOver(prefill: Engine, decode: Engine, prompt: readonly number[]): Promise<Taken> {
  const first = await ask(prefill, prompt, { 'x-sluice-leg': 'prefill' });
  if (!isRecord(first.body) || !isRecord(first.body['ticket']))
    throw new Error(`prefill engine gave no ticket: ${JSON.stringify(first.body).slice(0, 200)}`);
  const { ticket } = first.body;
  const second = await ask(decode, prompt, { 'x-sluice-ticket': JSON.stringify(ticket) });
  const { handOff } = second.report;
  if (!isRecord(handOff)) throw new Error(`decode engine pulled nothing of ${prompt.length} tokens: ${JSON.stringify(second.report)}`);
  // The last token is always computed where decoding starts, so a block that ends with it need not travel.
  const needed = Math.floor((prompt.length - 1) / BLOCK_TOKENS);
  if (handOff['failed'] !== null || Number(handOff['blocks']) < needed) {
    throw new Error(`decode engine pulled ${String(handOff['blocks'])} of ${needed} blocks: ${String(handOff['failed'])}`);
  }
  const copiedOut = first.report['handOff'];
  const outMs = isRecord(copiedOut) ? Number(copiedOut['ms']) : 0;
  return {
    prefillMs: first.prefillMs,
    handOffMs: outMs + Number(handOff['ms']),
    moveMs: Number(handOff['moveMs']),
    bytes: Number(handOff['bytes']),
  };
}

interface Asked {
  readonly body: unknown;
  readonly report: Record<string, unknown>;
  readonly prefillMs: number;
}

async function ask(engine: Engine, prompt: readonly number[], headers: Readonly<Record<string, string>>): Promise<Asked> {
  const answer = await fetch(`${engine.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: MODEL, prompt, max_tokens: 1, temperature: 0, ignore_eos: true }),
    signal: AbortSignal.timeout(ASK_LIMIT_MS),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`engine ${engine.id} answered ${answer.status}: ${text.slice(0, 300)}`);
  const body: unknown = JSON.parse(text);
  const header = answer.headers.get('x-sluice-report');
  const report: unknown = header === null ? (isRecord(body) ? body['report'] : null) : JSON.parse(header);
  if (!isRecord(report) || typeof report['prefillMs'] !== 'number') throw new Error(`engine ${engine.id} sent no prompt report`);
  return { body, report, prefillMs: report['prefillMs'] };
}
