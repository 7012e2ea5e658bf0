/** Declared costs to milliseconds: the formulas of EngineCosts. Pure. */
import type { EngineCosts } from '../port.ts';

/** Roughly one accelerator of the A100 class with an 8 B model, scaled so that a test is not slow. */
export const DEFAULT_SIM_COSTS: EngineCosts = {
  prefillFixed: 2,
  prefillPerToken: 0.05,
  prefillPerTokenContext: 0.000_002,
  stepFixed: 6,
  stepPerSequence: 0.05,
  stepPerContextToken: 0.000_05,
  pullFixed: 0.5,
  pullPerMiB: 0.2,
};

/** One chunk of `uncached` tokens after `context` ones. Chunks of one prompt add up to the cost of the whole. */
export function prefillChunkMs(costs: EngineCosts, uncached: number, context: number): number {
  return costs.prefillPerToken * uncached + costs.prefillPerTokenContext * uncached * (context + uncached / 2);
}

export function decodeStepMs(costs: EngineCosts, sequences: number, contextTokens: number): number {
  return costs.stepFixed + costs.stepPerSequence * sequences + costs.stepPerContextToken * contextTokens;
}

export function pullMs(costs: EngineCosts, bytes: number): number {
  return costs.pullFixed + (costs.pullPerMiB * bytes) / 2 ** 20;
}
