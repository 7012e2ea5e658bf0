/** Every object that a cluster stores, whatever its kind: to see what something left behind. */
import type { Admin } from '../admin.ts';

interface ApiResource {
  readonly name: string;
  readonly verbs: readonly string[];
}

interface Listed {
  readonly items?: readonly { readonly metadata: { readonly name: string; readonly namespace?: string } }[];
}

/** What comes and goes by itself: what happened, copies of Services and pods, and what each node says of itself. */
const FLEETING = new Set(['events', 'componentstatuses', 'endpoints', 'nodes']);
const SYSTEM_LEASES = /^leases kube-(?:system|node-lease)\//;

/** One line for each object, `plural namespace/name`. */
export async function inventory(admin: Admin): Promise<ReadonlySet<string>> {
  const versions = ['/api/v1', ...(await groupVersions(admin))];
  const lines = new Set<string>();
  for (const version of versions) {
    const { resources } = await admin.demand<{ readonly resources: readonly ApiResource[] }>('GET', version);
    for (const { name, verbs } of resources) {
      if (name.includes('/') || !verbs.includes('list') || FLEETING.has(name)) continue;
      const { items = [] } = await admin.demand<Listed>('GET', `${version}/${name}`);
      for (const { metadata } of items) lines.add(`${name} ${metadata.namespace ?? ''}/${metadata.name}`);
    }
  }
  return new Set([...lines].filter((line) => !SYSTEM_LEASES.test(line)));
}

async function groupVersions(admin: Admin): Promise<readonly string[]> {
  interface Groups {
    readonly groups: readonly { readonly preferredVersion: { readonly groupVersion: string } }[];
  }
  const { groups } = await admin.demand<Groups>('GET', '/apis');
  return groups.map(({ preferredVersion }) => `/apis/${preferredVersion.groupVersion}`);
}
