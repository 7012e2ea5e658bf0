/** Streams that go from one instance to another while they decode. */
import type { MigrationLimits } from '../../../kv/index.ts';

export type { MoveContext } from './move.ts';
export { type DrainOutcome, Mover } from './mover.ts';
export { type MovedStream, Relocation } from './relocation.ts';

/** The source decodes on while blocks are copied, so that may take its time; the switch is what a client could notice. */
export const MOVE_LIMITS: MigrationLimits = { replyMs: 2_000, copyMs: 15_000, switchMs: 3_000 };
