/** `sluice rollout diff`: what a manifest would change, and what of it restarts. Nothing is written. */
import { differences, type ServingDeployment, type ServingDeploymentManifest } from '../../api/index.ts';
import { changesOf } from '../../controller/index.ts';
import { SERVING_DEPLOYMENTS } from '../../controller/operator/index.ts';
import { readManifests } from '../manifestfiles.ts';
import { type Cluster, findDeployment, Refusal } from './access.ts';
import { mergePatch } from './patch.ts';
import { changeLines, changesAnything, differenceLines } from './tell.ts';

type Spec = ServingDeploymentManifest['spec'];

export interface Written {
  readonly deployment: ServingDeployment;
  readonly spec: Spec;
}

/** Throws a Refusal with file and line of every mistake. */
export function readWritten(files: readonly string[]): readonly Written[] {
  const read = readManifests(files);
  if (!read.ok) throw new Refusal(read.text);
  return read.manifests;
}

/** Against what the cluster has. @returns whether anything differs */
export async function diffAgainstCluster(cluster: Cluster, { deployment, spec }: Written, print: (line: string) => void): Promise<boolean> {
  const { name, namespace: written } = deployment.metadata;
  const here = { ...cluster, namespace: written === 'default' ? cluster.namespace : written };
  const where = `${name} in namespace ${here.namespace}`;
  const stored = await here.client.get(SERVING_DEPLOYMENTS, { name, namespace: here.namespace });
  if (stored === null) return tell({ where, before: null, after: { deployment, spec }, kind: 'pods' }, print);
  const before = await findDeployment(here, name);
  const patch = mergePatch(Object(stored.spec), spec);
  const tried = await here.client.merge(SERVING_DEPLOYMENTS, { name, namespace: here.namespace }, { spec: patch }, { dryRun: true });
  if (tried.kind === 'rejected') throw new Refusal(`${where}: the API server would refuse it: ${tried.message}`);
  const differs = tell({ where, before, after: { deployment, spec }, kind: 'pods' }, print);
  if (spec.rollout.paused) print('\n  spec.rollout.paused is true: all but sizes waits until sluice rollout resume');
  return differs;
}

/** Against another file, as `sluice up` would see the edit. */
export function diffAgainstFile(from: readonly Written[], after: Written, print: (line: string) => void): boolean {
  const key = ({ deployment: { metadata } }: Written) => `${metadata.namespace}/${metadata.name}`;
  const before = from.find((one) => key(one) === key(after)) ?? null;
  return tell({ where: after.deployment.metadata.name, before, after, kind: 'processes' }, print);
}

interface Told {
  readonly where: string;
  readonly before: Written | null;
  readonly after: Written;
  readonly kind: 'pods' | 'processes';
}

function tell({ where, before, after, kind }: Told, print: (line: string) => void): boolean {
  const changes = changesOf(before?.deployment ?? null, after.deployment, kind);
  if (before === null) {
    print(`${where}: is not there yet`);
  } else {
    const found = differences(before.spec, after.spec, ['spec']);
    if (found.length === 0) {
      print(`${where}: no difference`);
      return false;
    }
    print(`${where}: ${found.length} field${found.length === 1 ? '' : 's'} differ${found.length === 1 ? 's' : ''}`);
    for (const line of differenceLines(found)) print(line);
    print(changesAnything(changes) ? '\nWhat that does:' : '\nNothing is started, replaced or ended by that:');
  }
  for (const line of changeLines(changes)) print(line);
  return true;
}
