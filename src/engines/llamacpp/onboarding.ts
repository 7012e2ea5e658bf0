/** Reading a prompt's KV from the store before the prompt waits for a slot, when that is faster than computing it. */
import { peerOffer, type StoreTier } from '../../kv/index.ts';
import type { EngineCosts, HandOffTicket } from '../port.ts';
import type { Sequence } from './sequence.ts';

export interface OnboardingOptions {
  readonly tier: StoreTier;
  readonly costs: () => EngineCosts;
  /** Leading blocks that need no moving, as things are now. */
  readonly resident: (sequence: Sequence) => number;
}

export interface OnboardingBounds {
  readonly deadlineMs: number;
  /** So long the request waits for its turn anyway. */
  readonly lineMs: number;
}

export class Onboarding {
  readonly #options: OnboardingOptions;

  constructor(options: OnboardingOptions) {
    this.#options = options;
  }

  /** @param ticket what a peer offers; null = nobody does, or what it offered is here. Never rejects. */
  async run(sequence: Sequence, ticket: HandOffTicket | null, { deadlineMs, lineMs }: OnboardingBounds): Promise<void> {
    const { tier, costs, resident } = this.#options;
    const from = resident(sequence);
    const { blocks, bytes, copies, ms, failed, release, ...read } = await tier.onboard({
      keys: sequence.keys.slice(0, sequence.reusableBlocks),
      tokens: sequence.tokens,
      resident: from,
      peer: ticket && peerOffer(ticket.blocks, costs()),
      deadlineMs,
      lineMs,
      signal: sequence.abort.signal,
    });
    sequence.onOnboardedUsed(release);
    for (const [index, block] of blocks.entries()) sequence.onboarded.set(read.from + index, block);
    if (blocks.length > 0 || failed !== null) sequence.onboardResult = { blocks: blocks.length, bytes, copies, ms, failed };
  }
}
