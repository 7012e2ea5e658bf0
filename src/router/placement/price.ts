/** Prices in milliseconds, from an instance's measured costs (formulas: `EngineCosts` of the engine port). Pure. */
import type { EngineCosts } from '../../engines/index.ts';
import type { InstanceView, PlacementRequest, Terms } from './decision.ts';

/** Output that is priced when the client allows more: a stream's real length is not known, and long ones must not drown TTFT. */
export const PRICED_OUTPUT_TOKENS = 64;
/** What the second leg of a pair costs beside work and bytes. */
const HAND_OFF_MS = 1;
/**
 * Streams that a prefill on a decode instance is charged for beside those that run: one is likely to come meanwhile, and keeping
 * decode instances free of long prefills is what the prefill pool is for. So an idle decode instance takes short prompts alone and
 * leaves long ones to the prefill pool.
 */
const EXPECTED_STREAMS = 1;
const MIB = 2 ** 20;

export function prefillMs(costs: EngineCosts, tokens: number, context: number): number {
  if (tokens <= 0) return 0;
  return costs.prefillFixed + costs.prefillPerToken * tokens + costs.prefillPerTokenContext * tokens * (context + tokens / 2);
}

export function stepMs(costs: EngineCosts, sequences: number, contextTokens: number): number {
  return costs.stepFixed + costs.stepPerSequence * sequences + costs.stepPerContextToken * contextTokens;
}

export function pullMs(costs: EngineCosts, bytes: number): number {
  return bytes <= 0 ? 0 : costs.pullFixed + (costs.pullPerMiB * bytes) / MIB;
}

/** The share of a pair that the prefill instance decides. */
export interface PrefillPrice {
  readonly queueMs: number;
  readonly prefillMs: number;
  readonly cachedBlocks: number;
}

export function pricePrefill(instance: InstanceView, held: number, request: PlacementRequest): PrefillPrice {
  const blocks = Math.floor(request.promptTokens / request.blockTokens);
  const cachedBlocks = Math.min(held, blocks);
  const cached = cachedBlocks * request.blockTokens;
  return {
    queueMs: prefillMs(instance.costs, instance.pendingPrefillTokens, 0),
    prefillMs: prefillMs(instance.costs, blocks * request.blockTokens - cached, cached),
    cachedBlocks,
  };
}

/** The share of a pair that the decode instance decides. `queueMs` and `prefillMs` are zero here. */
export interface DecodePrice {
  readonly terms: Terms;
  readonly pulledBlocks: number;
}

export function priceDecode(instance: InstanceView, held: number, request: PlacementRequest): DecodePrice {
  const { costs } = instance;
  const reusable = Math.floor(Math.max(0, request.promptTokens - 1) / request.blockTokens);
  const pulledBlocks = Math.max(0, reusable - held);
  const tail = request.promptTokens - reusable * request.blockTokens;
  const tailOnly = prefillMs(costs, tail, reusable * request.blockTokens);
  return {
    pulledBlocks,
    terms: {
      queueMs: 0,
      prefillMs: 0,
      transferMs: HAND_OFF_MS + pullMs(costs, pulledBlocks * request.bytesPerBlock),
      admitMs: admitMs(instance),
      tailMs: tailOnly + prefillMs(costs, instance.pendingPrefillTokens, 0),
      stallMs: tailOnly * (instance.running + EXPECTED_STREAMS),
      decodeMs: decodeMs(instance, request),
    },
  };
}

/** The decode (or mixed) instance prefills the prompt itself. */
export function priceAlone(instance: InstanceView, held: number, request: PlacementRequest): { terms: Terms; cachedBlocks: number } {
  const reusable = Math.floor(Math.max(0, request.promptTokens - 1) / request.blockTokens);
  const cachedBlocks = Math.min(held, reusable);
  const cached = cachedBlocks * request.blockTokens;
  const own = prefillMs(instance.costs, request.promptTokens - cached, cached);
  return {
    cachedBlocks,
    terms: {
      queueMs: prefillMs(instance.costs, instance.pendingPrefillTokens, 0),
      prefillMs: own,
      transferMs: 0,
      admitMs: admitMs(instance),
      tailMs: 0,
      stallMs: own * (instance.running + EXPECTED_STREAMS),
      decodeMs: decodeMs(instance, request),
    },
  };
}

/** A full instance frees a sequence about every (output × step ÷ sequences) milliseconds. */
function admitMs(instance: InstanceView): number {
  const over = instance.running + 1 - instance.maxSequences;
  if (over <= 0) return 0;
  const step = stepMs(instance.costs, instance.maxSequences, instance.contextTokens);
  return (over * PRICED_OUTPUT_TOKENS * step) / instance.maxSequences;
}

function decodeMs(instance: InstanceView, request: PlacementRequest): number {
  const sequences = Math.min(instance.running + 1, instance.maxSequences);
  const step = stepMs(instance.costs, sequences, instance.contextTokens + request.promptTokens);
  return step * Math.min(request.maxTokens, PRICED_OUTPUT_TOKENS);
}
