/** An engine's own line, in milliseconds. Pure. */
import type { EngineLoad } from './port.ts';
import { prefillMs } from './stores.ts';

/** A stream's real length is not known. */
const EXPECTED_OUTPUT_TOKENS = 64;

export type Burden = Pick<EngineLoad, 'running' | 'waiting' | 'pendingPrefillTokens' | 'contextTokens' | 'costs'>;

/** How long a request that comes now waits for its turn: for the prompts before it, and for one of the sequences where all are taken. */
export function lineWaitMs({ running, waiting, pendingPrefillTokens, contextTokens, costs }: Burden, maxSequences: number): number {
  const promptsMs = prefillMs(costs, pendingPrefillTokens, 0);
  const over = running + waiting + 1 - maxSequences;
  if (over <= 0) return promptsMs;
  const { stepFixed, stepPerSequence, stepPerContextToken } = costs;
  const stepMs = stepFixed + stepPerSequence * maxSequences + stepPerContextToken * contextTokens;
  return promptsMs + (over * EXPECTED_OUTPUT_TOKENS * stepMs) / maxSequences;
}
