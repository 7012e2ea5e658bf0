/** `sluice rollout diff`: what a manifest would change, and what of it restarts. Nothing is written. */
import {
  type Difference,
  differences,
  type PinnedContext,
  type ReadManifest,
  type ReadTier,
  readResource,
  readTier,
} from '../../api/index.ts';
import { changesOf } from '../../controller/index.ts';
import { KV_TIERS, SERVING_DEPLOYMENTS } from '../../controller/operator/index.ts';
import { readManifests } from '../manifestfiles.ts';
import { type Cluster, findDeployment, Refusal, withKnownTier, withReadTier, withStoredTier } from './access.ts';
import { mergePatch } from './patch.ts';
import { changeLines, changesAnything, differenceLines } from './tell.ts';

/** Of its KVTier what the files hold, or else the cluster. */
export type Written = ReadManifest;

export interface WrittenFiles {
  readonly manifests: readonly Written[];
  readonly tiers: readonly ReadTier[];
  readonly contexts: readonly PinnedContext[];
}

/** Throws a Refusal with file and line of every mistake. */
export function readWritten(files: readonly string[]): WrittenFiles {
  const read = readManifests(files, { restElsewhere: true });
  if (!read.ok) throw new Refusal(read.text);
  return read;
}

type Print = (line: string) => void;

/** Against what the cluster has. @returns whether anything differs */
export async function diffAgainstCluster(cluster: Cluster, { manifests, tiers, contexts }: WrittenFiles, print: Print): Promise<boolean> {
  let differs = false;
  for (const one of manifests) differs = (await diffDeployment(cluster, one, { tiers, print })) || differs;
  for (const tier of tiers) differs = (await diffTier(cluster, tier, { manifests, print })) || differs;
  for (const { name } of contexts) print(`PinnedContext ${name}: is not compared; whatever it says, it replaces no instance`);
  return differs;
}

async function diffDeployment(
  cluster: Cluster,
  written: Written,
  { tiers, print }: Pick<WrittenFiles, 'tiers'> & { readonly print: Print },
): Promise<boolean> {
  const { deployment, spec } = written;
  const { name, namespace } = deployment.metadata;
  const here = placed(cluster, namespace);
  const where = `${name} in namespace ${here.namespace}`;
  const isWhole = tiers.some(({ tier }) => tier.name === deployment.spec.kv.tier && tier.namespace === namespace);
  const after = isWhole ? written : { ...(await withStoredTier(here, deployment)), spec };
  const stored = await here.client.get(SERVING_DEPLOYMENTS, { name, namespace: here.namespace });
  const awaited = after.tier === null ? deployment.spec.kv.tier : null;
  if (awaited !== null)
    print(
      `KVTier ${awaited} in namespace ${here.namespace}: is not there or cannot be read, so its servers and what they would replace are not told`,
    );
  if (stored === null) return tell({ where, before: null, after, kind: 'pods' }, print);
  const found = await findDeployment(here, name);
  const before = { ...(await withStoredTier(here, found.deployment)), spec: found.spec };
  const patch = mergePatch(Object(stored.spec), spec);
  const tried = await here.client.merge(SERVING_DEPLOYMENTS, { name, namespace: here.namespace }, { spec: patch }, { dryRun: true });
  if (tried.kind === 'rejected') throw new Refusal(`${where}: the API server would refuse it: ${tried.message}`);
  const differs = tell({ where, before, after, kind: 'pods' }, print);
  if (spec.rollout.paused) print('\n  spec.rollout.paused is true: all but sizes waits until sluice rollout resume');
  return differs;
}

/** What an edit of a tier does to those that name it and are not in the files themselves; where nobody names it, what differs. */
async function diffTier(
  cluster: Cluster,
  { tier, spec }: ReadTier,
  { manifests, print }: Pick<WrittenFiles, 'manifests'> & { readonly print: Print },
): Promise<boolean> {
  const here = placed(cluster, tier.namespace);
  const stored = await here.client.get(KV_TIERS, { name: tier.name, namespace: here.namespace });
  const where = `KVTier ${tier.name} in namespace ${here.namespace}`;
  if (stored === null) print(`${where}: is not there yet`);
  const { items } = await here.client.list(SERVING_DEPLOYMENTS, { namespace: here.namespace });
  const told = manifests.filter(({ deployment }) => deployment.metadata.namespace === tier.namespace);
  let differs = stored === null;
  let users = 0;
  for (const object of items) {
    const { name } = object.metadata;
    const read = readResource(object);
    if (!read.ok || read.deployment.spec.kv.tier !== tier.name) continue;
    users += 1;
    if (told.some(({ deployment }) => deployment.metadata.name === name)) continue;
    const before = { ...withReadTier(read.deployment, stored), spec: read.spec };
    const after = { ...withKnownTier(read.deployment, { tier, spec }), spec: read.spec };
    differs = tell({ where: `${name} in namespace ${here.namespace}`, before, after, kind: 'pods' }, print) || differs;
  }
  if (users > 0 || stored === null) return differs;
  const known = readTier(stored);
  return tellFields(where, differences(known.ok ? known.spec : {}, spec, ['spec']), print);
}

function placed(cluster: Cluster, written: string): Cluster {
  return { ...cluster, namespace: written === 'default' ? cluster.namespace : written };
}

/** Against another file, as `sluice up` would see the edit. */
export function diffAgainstFile(from: WrittenFiles, after: WrittenFiles, print: Print): boolean {
  const key = ({ deployment: { metadata } }: Written) => `${metadata.namespace}/${metadata.name}`;
  const found = after.manifests.map((one) => {
    const before = from.manifests.find((other) => key(other) === key(one)) ?? null;
    return tell({ where: one.deployment.metadata.name, before, after: one, kind: 'processes' }, print);
  });
  return found.includes(true);
}

interface Told {
  readonly where: string;
  readonly before: Written | null;
  readonly after: Written;
  readonly kind: 'pods' | 'processes';
}

function tell({ where, before, after, kind }: Told, print: Print): boolean {
  const changes = changesOf(before?.deployment ?? null, after.deployment, kind);
  if (before === null) {
    print(`${where}: is not there yet`);
  } else {
    const found = [...differences(before.spec, after.spec, ['spec']), ...tierDifferences(before, after)];
    if (!tellFields(where, found, print)) return false;
    print(changesAnything(changes) ? '\nWhat that does:' : '\nNothing is started, replaced or ended by that:');
  }
  for (const line of changeLines(changes)) print(line);
  return true;
}

/** @returns whether there are any */
function tellFields(where: string, found: readonly Difference[], print: Print): boolean {
  const count = found.length === 1 ? '1 field differs' : `${found.length} fields differ`;
  print(`${where}: ${found.length === 0 ? 'no difference' : count}`);
  for (const line of differenceLines(found)) print(line);
  return found.length > 0;
}

/** What its KVTier says otherwise; a deployment that names another one differs in `spec.kv.tierRef`. */
function tierDifferences(before: Written, after: Written): Difference[] {
  const { tier: name } = after.deployment.spec.kv;
  if (name === null || before.deployment.spec.kv.tier !== name || after.tier === null) return [];
  return differences(before.tier ?? {}, after.tier, ['spec']).map((one) => ({ ...one, path: `KVTier ${name} ${one.path}` }));
}
