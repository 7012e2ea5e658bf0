import type { BlockStore } from '../../kv/index.ts';
import { type Clock, SluiceError } from '../../shared/index.ts';
import type { Role } from '../port.ts';

export interface LlamaCppOptions {
  readonly instance: string;
  readonly role: Role;
  readonly modelName: string;
  readonly modelPath: string;
  /** Address to offer KV on. */
  readonly host: string;
  readonly contextTokens: number;
  readonly maxSequences: number;
  readonly blockTokens: number;
  readonly hbmBytes: number;
  readonly hostBytes: number;
  readonly leaseMs: number;
  /** Below host memory; closed with the engine. */
  readonly store?: BlockStore | null;
  readonly clock: Clock;
  readonly onWarning: (message: string) => void;
}

/** How many tokens the HBM holds. @throws SluiceError when that is less than one context */
export function budgetTokens({ hbmBytes, contextTokens }: LlamaCppOptions, bytesPerToken: number): number {
  const budget = Math.floor(hbmBytes / bytesPerToken);
  if (budget >= contextTokens) return budget;
  const least = contextTokens * bytesPerToken;
  throw new SluiceError(
    'invalid_request',
    `HBM budget of ${hbmBytes} bytes holds ${budget} tokens, less than one context of ${contextTokens}: give at least ${least} bytes`,
    { param: 'kv.hbm.capacity' },
  );
}
