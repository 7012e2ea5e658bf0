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
