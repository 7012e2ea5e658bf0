/** Costs to milliseconds: the formulas of `EngineCosts`, for engines, their simulator and the router's placement alike. Pure. */
import type { EngineCosts, EngineLoad } from '../port.ts';

/** Output of a stream that is reckoned with: its real length is not known, and long ones must not drown TTFT. */
export const EXPECTED_OUTPUT_TOKENS = 64;
const MIB = 2 ** 20;

/** One chunk of `tokens` after `context` ones. Chunks of one prompt and its fixed cost add up to `prefillMs`. */
export function prefillChunkMs({ prefillPerToken, prefillPerTokenContext }: EngineCosts, tokens: number, context: number): number {
  return prefillPerToken * tokens + prefillPerTokenContext * tokens * (context + tokens / 2);
}

/** Of computing `tokens` after `context` ones; nothing where there are none. */
export function prefillMs(costs: EngineCosts, tokens: number, context: number): number {
  return tokens <= 0 ? 0 : costs.prefillFixed + prefillChunkMs(costs, tokens, context);
}

/** Of a token for each of `sequences`. */
export function stepMs(costs: EngineCosts, sequences: number, contextTokens: number): number {
  return costs.stepFixed + costs.stepPerSequence * sequences + costs.stepPerContextToken * contextTokens;
}

/** Of bytes that come from a peer; nothing where there are none. */
export function pullMs(costs: EngineCosts, bytes: number): number {
  return bytes <= 0 ? 0 : costs.pullFixed + (costs.pullPerMiB * bytes) / MIB;
}

/** Until one of all sequences is free for a request behind `before` others: a full instance frees one about every (output × step ÷ sequences) milliseconds. */
export function turnMs(
  { costs, contextTokens }: Pick<EngineLoad, 'costs' | 'contextTokens'>,
  maxSequences: number,
  before: number,
): number {
  const over = before + 1 - maxSequences;
  if (over <= 0) return 0;
  return (over * EXPECTED_OUTPUT_TOKENS * stepMs(costs, maxSequences, contextTokens)) / maxSequences;
}

export type Burden = Pick<EngineLoad, 'running' | 'waiting' | 'pendingPrefillTokens' | 'contextTokens' | 'costs'>;

/** How long a request that comes now waits in the engine's own line: for the prompts before it, and for one of the sequences where all are taken. */
export function lineWaitMs(burden: Burden, maxSequences: number): number {
  const { running, waiting, pendingPrefillTokens, costs } = burden;
  return prefillMs(costs, pendingPrefillTokens, 0) + turnMs(burden, maxSequences, running + waiting);
}
