/** `sluice rollout history`, and the way back: `sluice rollout undo`. */
import { differences, readResource } from '../../api/index.ts';
import { changesOf } from '../../controller/index.ts';
import { byAge, isOf, specOf } from '../../controller/operator/index.ts';
import type { ControllerRevision } from '../../platform/kubernetes/index.ts';
import { PLAIN, table } from '../terminal.ts';
import { type Cluster, type Found, findDeployment, patchDeployment, Refusal, revisionsOf, withStoredTier } from './access.ts';
import { mergePatch } from './patch.ts';
import { changeLines, differenceLines } from './tell.ts';

type Print = (line: string) => void;

export async function rolloutHistory(cluster: Cluster, name: string, print: Print): Promise<number> {
  const found = await findDeployment(cluster, name);
  const kept = byAge(await revisionsOf(cluster, found)).reverse();
  if (kept.length === 0) throw new Refusal(noneKept(name));
  const rows = kept.map((one, index) => {
    const earlier = kept[index - 1];
    const changed = earlier === undefined ? [] : differences(earlier.data, one.data, ['spec']).map(({ path }) => path);
    const now = isOf(one, found.spec) ? '*' : '';
    return [String(one.revision), one.metadata.creationTimestamp ?? '', now, changed.join(', ')];
  });
  const columns = [{ title: 'REVISION', right: true }, { title: 'MADE' }, { title: 'NOW' }, { title: 'CHANGED' }];
  for (const line of table(columns, rows, PLAIN)) print(line);
  return 0;
}

function noneKept(name: string): string {
  return `no revision of ${name} is kept: the operator records one when it first looks at a deployment; does it run?`;
}

export interface UndoOptions {
  /** Null = the one before that of now. */
  readonly toRevision: number | null;
  readonly dryRun: boolean;
  readonly print: Print;
}

export async function rolloutUndo(cluster: Cluster, name: string, { toRevision, dryRun, print }: UndoOptions): Promise<number> {
  const found = await findDeployment(cluster, name);
  if (found.spec.rollout.paused && !dryRun) {
    throw new Refusal(`${name} is paused, so nothing would come of it: sluice rollout resume ${name}, then undo; or --dry-run`);
  }
  const target = choose(found, byAge(await revisionsOf(cluster, found)), toRevision);
  const spec = specOf(target, found.spec);
  const read = readResource({ ...found.object, spec });
  if (!read.ok) throw new Refusal(`revision ${target.revision} does not fit this release any more: ${read.errors.join('; ')}`);
  const whole = Object(found.object.spec);
  const [before, after] = [await withStoredTier(cluster, found.deployment), await withStoredTier(cluster, read.deployment)];
  const lines = [
    ...differenceLines(differences(found.spec, read.spec, ['spec'])),
    '',
    ...changeLines(changesOf(before.deployment, after.deployment, 'pods')),
  ];
  if (!dryRun) await patchDeployment(cluster, found, mergePatch(whole, spec));
  print(`${name} ${dryRun ? 'would go' : 'goes'} back to revision ${target.revision} of ${target.metadata.creationTimestamp ?? ''}:`);
  for (const line of lines) print(line);
  if (dryRun) return 0;
  print(`\nFollow it with: sluice rollout status ${name}`);
  print('The manifest that you apply still says otherwise: change it there too, or the next kubectl apply brings the change back.');
  return 0;
}

/** Sizes are not part of a revision: undo leaves them as they are. */
function choose({ object, spec }: Found, kept: readonly ControllerRevision[], wanted: number | null): ControllerRevision {
  const { name } = object.metadata;
  if (kept.length === 0) throw new Refusal(noneKept(name));
  const numbers = kept.map(({ revision }) => revision).join(', ');
  if (wanted !== null) {
    const chosen = kept.find(({ revision }) => revision === wanted);
    if (chosen === undefined) throw new Refusal(`revision ${wanted} of ${name} is not kept; there is: ${numbers}`);
    if (isOf(chosen, spec)) throw new Refusal(`${name} is at revision ${wanted} already`);
    return chosen;
  }
  const other = kept.find((one) => !isOf(one, spec));
  if (other === undefined) throw new Refusal(`${name} has had one revision only: there is nothing to go back to`);
  return other;
}
