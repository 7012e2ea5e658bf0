/** First requests to a fresh engine: they show that it works, and what work costs here. */
import { randomInt, randomUUID } from 'node:crypto';
import type { Clock } from '../../shared/index.ts';
import type { EngineCosts } from '../port.ts';
import type { EngineClient } from './client.ts';

export interface WarmUpOptions {
  readonly client: EngineClient;
  readonly clock: Clock;
  readonly modelName: string;
  readonly contextTokens: number;
  /** How many token ids the model has. */
  readonly vocabulary: number;
  /** Longest time for one request. */
  readonly requestMs: number;
  /**
   * Processor time, in milliseconds, that what computes has had so far; null = not known, or it computes elsewhere. Engines that
   * start together take the processors from each other, and then the wall clock measures the others too.
   */
  readonly busyMs: () => number | null;
  /** Fields with which the engine takes a request that belongs to no pair. */
  readonly alone: () => object;
}

export type WarmUp = { readonly ok: true; readonly costs: EngineCosts } | { readonly ok: false; readonly why: string };

/** Milliseconds that were measured: prompts of two lengths, and a step after the prompt. */
export interface Measured {
  readonly shortTokens: number;
  readonly shortMs: number;
  readonly longTokens: number;
  readonly longMs: number;
  readonly stepMs: number;
}

/** Every millisecond of this is one that a user waits: no longer and no more than what tells costs apart. */
const SHORT_TOKENS = 64;
const LONG_TOKENS = 256;
const STEPS = 4;
/** Of two measurements by the clock the faster one is nearer to the truth; nobody disturbs one of processor time. */
const ROUNDS = { byClock: 2, byProcessor: 1 };
/** What a pull costs is only known after the first one: about what a network of 10 Gbit/s takes. */
const PULL = { pullFixed: 2, pullPerMiB: 1 };
/** Share of a step that each of its sequences costs: the step reads the weights once for all of them. A start value. */
const STEP_SHARE_OF_SEQUENCE = 0.05;

/** The very first request: it pays for what is loaded and compiled late, so it measures nothing. @returns what went wrong, or null */
export async function greet(options: WarmUpOptions): Promise<string | null> {
  const answered = await timed(options, fresh(options, SHORT_TOKENS), 2);
  return typeof answered === 'string' ? answered : null;
}

/** After the first request. Takes about a third of a second on a small model. */
export async function warmUp(options: WarmUpOptions): Promise<WarmUp> {
  const rounds = options.busyMs() === null ? ROUNDS.byClock : ROUNDS.byProcessor;
  let best: Measured | null = null;
  for (let round = 0; round < rounds; round++) {
    const measured = await measure(options);
    if (typeof measured === 'string') return { ok: false, why: measured };
    best = best === null ? measured : fastest(best, measured);
  }
  return best === null ? { ok: false, why: 'nothing was measured' } : { ok: true, costs: costsOf(best) };
}

/** Pure. Differences that noise made negative count as next to nothing. */
export function costsOf({ shortTokens, shortMs, longTokens, longMs, stepMs }: Measured): EngineCosts {
  const prefillPerToken = Math.max(0.001, (longMs - shortMs) / Math.max(1, longTokens - shortTokens));
  const step = Math.max(0.01, stepMs);
  const stepPerSequence = step * STEP_SHARE_OF_SEQUENCE;
  return {
    prefillFixed: Math.max(0, shortMs - prefillPerToken * shortTokens),
    prefillPerToken,
    prefillPerTokenContext: 0,
    stepFixed: step - stepPerSequence,
    stepPerSequence,
    stepPerContextToken: 0,
    ...PULL,
  };
}

async function measure(options: WarmUpOptions): Promise<Measured | string> {
  const longTokens = Math.min(LONG_TOKENS, Math.floor(options.contextTokens / 2));
  const shortTokens = Math.min(SHORT_TOKENS, Math.floor(longTokens / 2));
  const shortMs = await timed(options, fresh(options, shortTokens), 1);
  if (typeof shortMs === 'string') return shortMs;
  const longMs = await timed(options, fresh(options, longTokens), 1);
  if (typeof longMs === 'string') return longMs;
  const steppedMs = await timed(options, fresh(options, shortTokens), 1 + STEPS);
  if (typeof steppedMs === 'string') return steppedMs;
  return { shortTokens, shortMs, longTokens, longMs, stepMs: (steppedMs - shortMs) / STEPS };
}

function fastest(a: Measured, b: Measured): Measured {
  const least = (name: 'shortMs' | 'longMs' | 'stepMs') => Math.min(a[name], b[name]);
  return { ...a, shortMs: least('shortMs'), longMs: least('longMs'), stepMs: least('stepMs') };
}

interface Prompt {
  readonly tokens: readonly number[];
  readonly salt: string;
}

/** The salt makes sure that nothing of it is known, and that nobody else meets what it leaves behind. */
function fresh({ vocabulary }: WarmUpOptions, count: number): Prompt {
  const ids = Math.max(1, Math.min(vocabulary, 250));
  return { tokens: Array.from({ length: count }, () => randomInt(ids)), salt: `sluice-warm-up-${randomUUID()}` };
}

/** Milliseconds, or what went wrong. */
async function timed(options: WarmUpOptions, { tokens, salt }: Prompt, maxTokens: number): Promise<number | string> {
  const { client, clock, modelName, requestMs, busyMs, alone } = options;
  const body = { model: modelName, prompt: tokens, max_tokens: maxTokens, ignore_eos: true, temperature: 0, cache_salt: salt, ...alone() };
  const startedAt = clock.now();
  const busyBefore = busyMs();
  const reply = await client.post('/v1/completions', body, requestMs);
  const busyAfter = busyMs();
  const wallMs = clock.now() - startedAt;
  const ms = busyBefore === null || busyAfter === null ? wallMs : Math.min(wallMs, busyAfter - busyBefore);
  if (!reply.ok) return `its first requests failed: ${reply.why}`;
  return reply.status === 200 ? ms : `its first requests were answered with ${reply.status}: ${reply.text.slice(0, 300)}`;
}
