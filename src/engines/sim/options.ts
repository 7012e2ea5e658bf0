import type { BlockStore } from '../../kv/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { Dialect, EngineCosts, Role } from '../port.ts';

export interface SimOptions {
  readonly instance: string;
  readonly role: Role;
  readonly modelName: string;
  readonly clock: Clock;
  /** Address for the KV transfer server, and its name in tickets. Default 127.0.0.1. */
  readonly host?: string;
  /** Default 8,192. */
  readonly contextTokens?: number;
  /** Sequences in one batch. Default 64. */
  readonly maxSequences?: number;
  /** Default 16. */
  readonly blockTokens?: number;
  /** KV bytes of one block; they really travel at a hand-off (but hold nothing, all blocks of an engine share them in memory). Default 4,096. */
  readonly bytesPerBlock?: number;
  /** Default 64 MiB. At least one whole context must fit. */
  readonly hbmBytes?: number;
  /** Default 64 MiB. vLLM and SGLang have no such tier: with `nixl` and `bootstrap` it is 0, whatever is given. */
  readonly hostBytes?: number;
  /** How hand-offs are made: as docs/engine-protocol.md has it (default), as vLLM's NixlConnector does, or as SGLang does. */
  readonly dialect?: Dialect;
  /** `nixl`: how long the first contact to another engine may take. Default 5,000, as in vLLM. */
  readonly sideChannelTimeoutMs?: number;
  /** `nixl`: the core is dead, for good. */
  readonly onDeath?: () => void;
  /** How long finished blocks wait for a peer. Default 30,000. */
  readonly leaseMs?: number;
  /** Declared times. Default DEFAULT_SIM_COSTS; a part of them changes only that part. */
  readonly costs?: Partial<EngineCosts>;
  /** Requests that may wait. Default 4,096. */
  readonly maxWaiting?: number;
  /** Prompt tokens of one step. Default 2,048. */
  readonly chunkTokens?: number;
  /** `tcp` (default): blocks travel over the real transfer server. `declared`: a pull only takes its declared time. */
  readonly transfer?: 'tcp' | 'declared';
  /** Below host memory; closed with the engine. Default: none. */
  readonly store?: BlockStore | null;
  /** Default: a random UUID. */
  readonly incarnation?: string;
}

export const DEFAULTS = {
  host: '127.0.0.1',
  contextTokens: 8192,
  maxSequences: 64,
  blockTokens: 16,
  bytesPerBlock: 4096,
  hbmBytes: 64 * 2 ** 20,
  hostBytes: 64 * 2 ** 20,
  leaseMs: 30_000,
  dialect: 'sluice',
  sideChannelTimeoutMs: 5_000,
  onDeath: () => {},
  maxWaiting: 4096,
  chunkTokens: 2048,
  transfer: 'tcp',
  store: null,
} as const;
