/** First evaluations of a fresh context: they show how KV is laid out and what work costs here. */
import { type Clock, SluiceError } from '../../shared/index.ts';
import { BATCH_TOKENS, type LlamaContext } from './context.ts';
import type { CostMeter } from './costs.ts';
import { readLayout, type StateLayout } from './statelayout.ts';

const DECODE_STEPS = 4;

/** Leaves the context empty. Throws `invalid_request` for a model whose KV cannot be cut into blocks. */
export async function warmUp(
  context: LlamaContext,
  costs: CostMeter,
  options: { contextTokens: number; clock: Clock },
): Promise<StateLayout> {
  const { clock } = options;
  const length = Math.min(2 * BATCH_TOKENS, Math.floor(options.contextTokens / 2));
  const tokens = Int32Array.from({ length: length + DECODE_STEPS }, (_, i) => (i * 31) % Math.min(256, context.vocabularySize));
  for (let from = 0; from < length; from += BATCH_TOKENS) {
    const to = Math.min(length, from + BATCH_TOKENS);
    const started = clock.now();
    await context.evaluate([{ sequence: 0, position: from, tokens: tokens.subarray(from, to), wantLogits: to === length }]);
    costs.prefilled(to - from, from, clock.now() - started);
  }
  for (let at = length; at < tokens.length; at++) {
    const started = clock.now();
    await context.evaluate([{ sequence: 0, position: at, tokens: tokens.subarray(at, at + 1), wantLogits: true }]);
    costs.stepped(1, at + 1, clock.now() - started);
  }
  const layout = layoutOf(context);
  context.truncate(0, 0);
  return layout;
}

function layoutOf(context: LlamaContext): StateLayout {
  try {
    return readLayout(context.read(0));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SluiceError(
      'invalid_request',
      `this model's KV cannot be moved in blocks (${why}): sliding-window, recurrent and hybrid models are not supported by the llamacpp engine`,
      { param: 'model.source', cause },
    );
  }
}
