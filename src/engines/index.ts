/** Engines behind one port. What only one kind of engine needs has a face of its own (`llamacpp`), so that nothing else loads it. */
export {
  createEngineServer,
  type EngineLogger,
  type EngineServer,
  type EngineServerLimits,
  type EngineServerOptions,
  type HttpDialect,
} from './openai/index.ts';
export type {
  ChatMessage,
  Dialect,
  EngineCore,
  EngineCosts,
  EngineCounters,
  EngineInfo,
  EngineLoad,
  EngineRequest,
  EngineType,
  FinishReason,
  GenerateSink,
  HandOffReport,
  HandOffTicket,
  PrefillSink,
  PromptReport,
  Role,
  Running,
  Sampling,
  TierLoad,
  Tokenizer,
  TokenizerSource,
  TokenLogprobs,
} from './port.ts';
export { createSimEngine, nixlDialect, type SimCore, type SimOptions } from './sim/index.ts';
