import type { BlockStore } from '../../kv/index.ts';
import type { Clock } from '../../shared/index.ts';
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
