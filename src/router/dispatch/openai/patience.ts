/** How long an engine that is not ours is waited for. Pure. */

import { EXPECTED_OUTPUT_TOKENS } from '../../../engines/costs/index.ts';
import type { ParsedRequest } from '../../edge/index.ts';
import type { Choice } from '../choose.ts';
import type { Deadlines } from '../deadlines.ts';

/** A whole answer comes with its last token; decoding may take this much longer than predicted. */
const SLACK = 4;

export interface Awaited {
  readonly request: Pick<ParsedRequest, 'stream' | 'maxTokens'>;
  readonly deadlines: Deadlines;
  /** The prompt is computed elsewhere. */
  readonly handedOver: boolean;
}

/**
 * Longest wait for a decode leg's first token, milliseconds. After a hand-off, a stream's first token is soon there or the hand-off hangs.
 * Whole answers and whole requests take their time.
 */
export function firstTokenMs({ request, deadlines, handedOver }: Awaited, { decision, group }: Choice): number {
  const { transferMs, admitMs, tailMs, decodeMs } = decision.chosen.terms;
  if (request.stream) {
    const pull = deadlines.pullMs + transferMs + admitMs + tailMs;
    return handedOver ? Math.min(deadlines.firstTokenMs, pull) : deadlines.firstTokenMs;
  }
  const tokens = request.maxTokens ?? group.info.contextTokens;
  return deadlines.firstTokenMs + (SLACK * decodeMs * tokens) / Math.max(1, Math.min(tokens, EXPECTED_OUTPUT_TOKENS));
}
