/** First evaluations of a fresh context: they show how KV is laid out and what work costs here. */
import { type Clock, SluiceError } from '../../shared/index.ts';
import { BATCH_TOKENS, type LlamaContext } from './context.ts';
import type { CostMeter } from './costs.ts';
import { readLayout, type StateLayout } from './statelayout.ts';

const DECODE_STEPS = 4;
/** Instances start together and disturb each other: of two measurements the faster one is nearer to the truth. */
const ROUNDS = 2;

/** Leaves the context empty. Throws `invalid_request` for a model whose KV cannot be cut into blocks. */
export async function warmUp(
  context: LlamaContext,
  costs: CostMeter,
  options: { contextTokens: number; clock: Clock },
): Promise<StateLayout> {
  const prompt = Math.min(2 * BATCH_TOKENS, Math.floor(options.contextTokens / 2));
  const pieces = piecesOf(prompt);
  const fastest = pieces.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, piece] of pieces.entries()) fastest[i] = Math.min(fastest[i] as number, await timed(context, piece, options.clock));
  }
  for (const [i, { from, to }] of pieces.entries()) {
    if (to - from === 1) costs.stepped(1, to, fastest[i] as number);
    else costs.prefilled(to - from, from, fastest[i] as number);
  }
  const layout = layoutOf(context);
  context.truncate(0, 0);
  return layout;
}

interface Piece {
  readonly from: number;
  readonly to: number;
}

/** Prefill pieces of two sizes, then decode steps. */
function piecesOf(prompt: number): Piece[] {
  const cuts = [0, Math.floor(prompt / 4), Math.floor(prompt / 2), prompt];
  const prefill = cuts.slice(1).map((to, i) => ({ from: cuts[i] as number, to }));
  return [...prefill, ...Array.from({ length: DECODE_STEPS }, (_, i) => ({ from: prompt + i, to: prompt + i + 1 }))];
}

async function timed(context: LlamaContext, { from, to }: Piece, clock: Clock): Promise<number> {
  if (from === 0) context.truncate(0, 0);
  const tokens = Int32Array.from({ length: to - from }, (_, i) => ((from + i) * 31) % Math.min(256, context.vocabularySize));
  const started = clock.now();
  await context.evaluate([{ sequence: 0, position: from, tokens, wantLogits: true }]);
  return clock.now() - started;
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
