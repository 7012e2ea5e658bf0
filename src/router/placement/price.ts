/** Prices in milliseconds, from an instance's measured costs (formulas: `EngineCosts` of the engine port). Pure. */
import { EXPECTED_OUTPUT_TOKENS, prefillMs, pullMs, stepMs, turnMs } from '../../engines/costs/index.ts';
import { peerOffer, planReading, storeOffer } from '../../kv/index.ts';
import type { InstanceView, PlacementRequest, Terms } from './decision.ts';

/** What the second leg of a pair costs beside work and bytes. */
const HAND_OFF_MS = 1;
/**
 * Streams that a prefill on a decode instance is charged for beside those that run: one is likely to come meanwhile, and keeping
 * decode instances free of long prefills is what the prefill pool is for. So an idle decode instance takes short prompts alone and
 * leaves long ones to the prefill pool.
 */
const EXPECTED_STREAMS = 1;

/** Leading blocks of a prompt that an instance has, and those right behind them that are in its store. */
export interface Blocks {
  readonly held: number;
  readonly stored: number;
}

interface Reading {
  readonly blocks: number;
  readonly ms: number;
}

interface Wanted {
  readonly blocks: number;
  /** A peer offers all of them too. */
  readonly handedOver: boolean;
  /** The prompt waits so long for its turn anyway. */
  readonly lineMs: number;
}

const NO_READING: Reading = { blocks: 0, ms: 0 };

/** What the engine will read from its store, by the rule that it goes by itself, and what it costs beyond `lineMs`. */
function readingOf(
  instance: InstanceView,
  { held, stored }: Blocks,
  { blocks, handedOver, lineMs }: Wanted,
  request: PlacementRequest,
): Reading {
  const { storePrice, storeAheadMs, costs } = instance;
  if (storePrice === null || stored === 0 || held >= blocks) return NO_READING;
  const { blockTokens, bytesPerBlock, pullMs: deadlineMs } = request;
  const store = storeOffer(held + stored, { price: storePrice, waitMs: storeAheadMs, bytesPerBlock });
  const step = planReading({
    blocks,
    resident: held,
    offers: handedOver ? { store, peer: peerOffer(blocks, costs) } : { store },
    blockTokens,
    bytesPerBlock,
    prefillMs: (tokens, context) => prefillMs(costs, tokens, context),
    deadlineMs,
    lineMs,
  });
  if (step === null) return NO_READING;
  return { blocks: step.end - step.start, ms: Math.max(0, storeAheadMs + step.ms - lineMs) };
}

/** The share of a pair that the prefill instance decides. */
export interface PrefillPrice {
  readonly queueMs: number;
  readonly onboardMs: number;
  readonly prefillMs: number;
  readonly cachedBlocks: number;
  readonly storedBlocks: number;
}

export function pricePrefill(instance: InstanceView, known: Blocks, request: PlacementRequest): PrefillPrice {
  const blocks = Math.floor(request.promptTokens / request.blockTokens);
  return priceCompute(instance, known, { blocks, tokens: blocks * request.blockTokens, admitMs: 0 }, request);
}

/** What getting the KV of `tokens` costs, of which the first `blocks` blocks need not be computed. */
function priceCompute(
  instance: InstanceView,
  known: Blocks,
  { blocks, tokens, admitMs }: { blocks: number; tokens: number; admitMs: number },
  request: PlacementRequest,
): PrefillPrice {
  const { costs, pendingPrefillTokens } = instance;
  const cachedBlocks = Math.min(known.held, blocks);
  const queueMs = prefillMs(costs, pendingPrefillTokens, 0);
  const reading = readingOf(instance, known, { blocks, handedOver: false, lineMs: queueMs + admitMs }, request);
  const there = (cachedBlocks + reading.blocks) * request.blockTokens;
  return {
    queueMs,
    onboardMs: reading.ms,
    prefillMs: prefillMs(costs, tokens - there, there),
    cachedBlocks,
    storedBlocks: reading.blocks,
  };
}

/** The share of a pair that the decode instance decides. What the prefill instance decides is zero here. */
export interface DecodePrice {
  readonly terms: Terms;
  readonly pulledBlocks: number;
}

export function priceDecode(instance: InstanceView, known: Blocks, request: PlacementRequest): DecodePrice {
  const { costs } = instance;
  const reusable = Math.floor(Math.max(0, request.promptTokens - 1) / request.blockTokens);
  const pulledBlocks = Math.max(0, reusable - known.held);
  const queueMs = prefillMs(costs, instance.pendingPrefillTokens, 0);
  const waitMs = turnMs(instance, instance.maxSequences, instance.running);
  const reading = readingOf(instance, known, { blocks: reusable, handedOver: true, lineMs: queueMs + waitMs }, request);
  const tail = request.promptTokens - reusable * request.blockTokens;
  const tailOnly = prefillMs(costs, tail, reusable * request.blockTokens);
  return {
    pulledBlocks,
    terms: {
      queueMs: 0,
      onboardMs: 0,
      prefillMs: 0,
      transferMs: HAND_OFF_MS + reading.ms + pullMs(costs, (pulledBlocks - reading.blocks) * request.bytesPerBlock),
      admitMs: waitMs,
      tailMs: tailOnly + queueMs,
      stallMs: tailOnly * (instance.running + EXPECTED_STREAMS),
      decodeMs: decodeMs(instance, request),
    },
  };
}

export interface Alone {
  readonly terms: Terms;
  readonly cachedBlocks: number;
  readonly storedBlocks: number;
}

/** The decode (or mixed) instance prefills the prompt itself. */
export function priceAlone(instance: InstanceView, known: Blocks, request: PlacementRequest): Alone {
  const { promptTokens: tokens } = request;
  const blocks = Math.floor(Math.max(0, tokens - 1) / request.blockTokens);
  const waitMs = turnMs(instance, instance.maxSequences, instance.running);
  const { cachedBlocks, storedBlocks, ...own } = priceCompute(instance, known, { blocks, tokens, admitMs: waitMs }, request);
  return {
    cachedBlocks,
    storedBlocks,
    terms: {
      ...own,
      transferMs: 0,
      admitMs: waitMs,
      tailMs: 0,
      stallMs: own.prefillMs * (instance.running + EXPECTED_STREAMS),
      decodeMs: decodeMs(instance, request),
    },
  };
}

function decodeMs(instance: InstanceView, request: PlacementRequest): number {
  const sequences = Math.min(instance.running + 1, instance.maxSequences);
  const step = stepMs(instance.costs, sequences, instance.contextTokens + request.promptTokens);
  return step * Math.min(request.maxTokens, EXPECTED_OUTPUT_TOKENS);
}
