/** What a router shares with others of its deployment; null = not named. Whoever opened it closes it. */
import type { EventBus, SharedDirectory } from '../../kv/index.ts';

export interface RouterKv {
  readonly bus: EventBus | null;
  readonly directory: SharedDirectory | null;
}

export const NO_KV: RouterKv = { bus: null, directory: null };
