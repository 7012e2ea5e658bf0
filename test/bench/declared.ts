/** What engines of a size that no small machine has are declared to cost. Not measured. */
import type { EngineCosts } from '../../src/engines/index.ts';

/** Llama 3 8B in bf16 on an A10: 16 GB of weights over 600 GB/s, 16 GFLOP per token at 60 % of 125 TFLOPS. 128 KiB of KV per token. */
export const LLAMA_8B_ON_A10: EngineCosts = {
  prefillFixed: 5,
  prefillPerToken: 0.21,
  prefillPerTokenContext: 0.000_004,
  stepFixed: 27,
  stepPerSequence: 0.05,
  stepPerContextToken: 0.000_218,
  pullFixed: 0,
  pullPerMiB: 0,
};
