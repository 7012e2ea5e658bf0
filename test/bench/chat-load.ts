/** Conversations of many turns, as FastSwitch (arXiv 2411.18424, section 5) takes from ShareGPT: 5.5 turns on average. Pure; a seed gives the same. */
import { poissonArrivals, seededRandom } from './arrivals.ts';
import { logUniform } from './tokens.ts';

export interface ChatTurn {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Milliseconds from the end of the turn before to this one; 0 for the first. */
  readonly thinkMs: number;
}

export interface Conversation {
  readonly arrivesAtMs: number;
  readonly turns: readonly ChatTurn[];
}

export interface ChatLoad {
  readonly conversations: number;
  readonly perSecond: number;
  readonly seed: number;
}

const MEAN_TURNS = 5.5;
/** Means of 160 and 335, about those of ShareGPT. */
const PROMPT_TOKENS = { low: 20, high: 550 } as const;
const OUTPUT_TOKENS = { low: 60, high: 1_000 } as const;
const MEAN_THINK_MS = 10_000;

export function chatLoad({ conversations, perSecond, seed }: ChatLoad): Conversation[] {
  const random = seededRandom(seed);
  const seconds = (conversations / perSecond) * 2;
  return poissonArrivals(perSecond, seconds, random)
    .slice(0, conversations)
    .map((arrivesAtMs) => ({ arrivesAtMs, turns: turnsOf(random) }));
}

/** Geometric from 1 on, at most 40. */
function turnsOf(random: () => number): ChatTurn[] {
  const count = Math.min(40, 1 + Math.floor(Math.log(1 - random()) / Math.log(1 - 1 / MEAN_TURNS)));
  return Array.from({ length: count }, (_, turn) => ({
    promptTokens: logUniform(PROMPT_TOKENS.low, PROMPT_TOKENS.high, random),
    outputTokens: logUniform(OUTPUT_TOKENS.low, OUTPUT_TOKENS.high, random),
    thinkMs: turn === 0 ? 0 : -Math.log(1 - random()) * MEAN_THINK_MS,
  }));
}
