/** The router: OpenAI's API in front, prefill and decode instances behind. */
export { DEFAULT_CONFIG, parseConfig, type RouterConfig } from './config.ts';
export type { DrainOutcome } from './dispatch/moves/index.ts';
export { explainRecord } from './explain.ts';
export type { RouterKv } from './kv/port.ts';
export type { KvBlocks, KvInstance, KvPlace, KvVerified, KvView, KvWhere } from './kv/view.ts';
export {
  type AttemptRecord,
  type MoveRecord,
  type RecordSummary,
  type RequestOutcome,
  type RequestRecord,
  summaryOf,
} from './record/index.ts';
export { type ListenOptions, type RouterOptions, type RunningRouter, startRouter } from './router.ts';
export type { TopInstance, TopView } from './top.ts';
