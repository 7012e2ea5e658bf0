/** Pods as tests that fail tell of them. */
import type { Pod } from '../../../src/platform/kubernetes/index.ts';

export interface PodList {
  readonly items: readonly Pod[];
}

export function describePods({ items }: PodList): string {
  return items
    .map(({ metadata, status }) => `${metadata.name}: ${JSON.stringify(status?.containerStatuses ?? status?.conditions)}`)
    .join('\n');
}
