/** What a vLLM holds and how loaded it is, put together from its KV events and its metrics. */
import { openEngineView } from '../../agent/follow.ts';
import type { OpenView } from '../../agent/view.ts';
import { MetricsView } from '../metrics/index.ts';

export const openView: OpenView = (options) => {
  const { identity, bytesPerBlock, contextTokens } = options.info;
  return openEngineView(options, (costs) => new MetricsView({ bytesPerBlock, blockTokens: identity.blockTokens, contextTokens }, costs));
};
