/** Costs to milliseconds. A face of its own: the router prices with them, and loads no engine. */
export {
  type Burden,
  EXPECTED_OUTPUT_TOKENS,
  lineWaitMs,
  prefillChunkMs,
  prefillMs,
  pullMs,
  stepMs,
  turnMs,
} from './formulas.ts';
