/** What an SGLang holds and how loaded it is, put together from its KV events and its metrics. */
import { openEngineView } from '../../agent/follow.ts';
import type { OpenView } from '../../agent/view.ts';
import { MetricsView } from '../metrics/view.ts';

export const openView: OpenView = (options) => {
  const { identity, bytesPerBlock, contextTokens, role } = options.info;
  const common = { role, bytesPerBlock, blockTokens: identity.blockTokens, contextTokens };
  return openEngineView(options, (costs) => new MetricsView({ ...common, costs }));
};
