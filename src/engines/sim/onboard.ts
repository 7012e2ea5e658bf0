/** Reading a prompt's KV from the store, when that is faster than computing it or pulling it. The bytes really come, and are verified. */
import { peerOffer, type StoreTier } from '../../kv/index.ts';
import type { EngineCosts } from '../port.ts';
import type { Sequence } from './sequence.ts';

/** As a request comes. */
export interface AsOfNow {
  /** Leading blocks that are here. */
  readonly local: number;
  /** So long the request waits for its turn anyway. */
  readonly lineMs: number;
}

export interface OnboardOptions extends AsOfNow {
  readonly sequence: Sequence;
  readonly costs: EngineCosts;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/** Null when nothing came. Never rejects. */
export async function onboard(
  tier: StoreTier,
  { sequence, local, costs, deadlineMs, lineMs, signal }: OnboardOptions,
): Promise<Sequence['onboarded']> {
  const { ticket } = sequence.request;
  const { from, blocks, release, ...report } = await tier.onboard({
    keys: sequence.keys,
    tokens: sequence.tokens,
    resident: local,
    peer: ticket && ticket.blocks > 0 ? peerOffer(ticket.blocks, costs) : null,
    deadlineMs,
    lineMs,
    signal,
    planned: (blocks) => sequence.expect(blocks),
  });
  if (blocks.length === 0 && report.failed === null) return null;
  return { from, to: from + blocks.length, report: { blocks: blocks.length, ...report }, release };
}
