/** First evaluations of a fresh context: they show how KV is laid out and what work costs here. */
import { type Clock, SluiceError } from '../../shared/index.ts';
import { BATCH_TOKENS, type LlamaContext } from './context.ts';
import type { CostMeter } from './costs.ts';
import { blockBytes, cutBlocks, joinBlocks, readLayout, type StateLayout } from './statelayout.ts';

const DECODE_STEPS = 4;
/** Of two measurements the faster one is nearer to the truth. */
const ROUNDS = 2;
/** A piece measured deep in the context: shallow ones alone leave the price of long prompts to extrapolated noise. */
const DEEP_PIECE_TOKENS = 256;
const DEEPEST = 4096;
const DEEP_STATE_BYTES = 256 << 20;
/** Tokens of real KV that are repeated to fill the context before the deep piece. */
const FILL_TOKENS = 256;

/** Leaves the context empty. Throws `invalid_request` for a model whose KV cannot be cut into blocks. */
export async function warmUp(
  context: LlamaContext,
  costs: CostMeter,
  options: { contextTokens: number; clock: Clock },
): Promise<StateLayout> {
  const measure = async (pieces: readonly Piece[]) => {
    const fastest = pieces.map(() => Number.POSITIVE_INFINITY);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, piece] of pieces.entries()) fastest[i] = Math.min(fastest[i] as number, await timed(context, piece, options.clock));
    }
    for (const [i, { from, to }] of pieces.entries()) {
      if (to - from === 1) costs.stepped(1, to, fastest[i] as number);
      else costs.prefilled(to - from, from, fastest[i] as number);
    }
  };
  const prompt = Math.min(2 * BATCH_TOKENS, Math.floor(options.contextTokens / 2));
  await measure(shallowPieces(prompt));
  const state = context.read(0);
  const layout = layoutOf(state);
  const deep = deepPiece(options.contextTokens, blockBytes(layout, FILL_TOKENS));
  if (deep && deep.from > prompt) {
    const [filling] = cutBlocks(layout, state, { from: 0, to: 1, blockTokens: FILL_TOKENS });
    const blocks = Array.from({ length: deep.from / FILL_TOKENS }, () => filling as Uint8Array);
    context.write(0, joinBlocks(layout, blocks, { blockTokens: FILL_TOKENS, sequence: 0 }));
    await measure([deep]);
  }
  context.truncate(0, 0);
  return layout;
}

interface Piece {
  readonly from: number;
  readonly to: number;
}

/** Prefill pieces of two sizes, then decode steps. */
export function shallowPieces(prompt: number): Piece[] {
  const cuts = [0, Math.floor(prompt / 4), Math.floor(prompt / 2), prompt];
  const prefill = cuts.slice(1).map((to, i) => ({ from: cuts[i] as number, to }));
  return [...prefill, ...Array.from({ length: DECODE_STEPS }, (_, i) => ({ from: prompt + i, to: prompt + i + 1 }))];
}

/** As deep as the context and a bounded copy of its state allow; null where no whole filling fits. */
export function deepPiece(contextTokens: number, fillingBytes: number): Piece | null {
  const most = Math.min(DEEPEST, contextTokens - DEEP_PIECE_TOKENS, FILL_TOKENS * Math.floor(DEEP_STATE_BYTES / fillingBytes));
  const from = FILL_TOKENS * Math.floor(most / FILL_TOKENS);
  return from > 0 ? { from, to: from + DEEP_PIECE_TOKENS } : null;
}

/**
 * Milliseconds of one evaluation. Instances start together and take the processor from each other: llama.cpp evaluates on one thread
 * (context.ts), so its processor time is what the piece would have taken alone.
 */
async function timed(context: LlamaContext, { from, to }: Piece, clock: Clock): Promise<number> {
  context.truncate(0, from);
  const tokens = Int32Array.from({ length: to - from }, (_, i) => ((from + i) * 31) % Math.min(256, context.vocabularySize));
  const started = clock.now();
  const startedCpu = process.cpuUsage();
  await context.evaluate([{ sequence: 0, position: from, tokens, wantLogits: true }]);
  const cpu = process.cpuUsage(startedCpu);
  return Math.min(clock.now() - started, (cpu.user + cpu.system) / 1000);
}

function layoutOf(state: Uint8Array): StateLayout {
  try {
    return readLayout(state);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SluiceError(
      'invalid_request',
      `this model's KV cannot be moved in blocks (${why}): sliding-window, recurrent and hybrid models are not supported by the llamacpp engine`,
      { param: 'model.source', cause },
    );
  }
}
