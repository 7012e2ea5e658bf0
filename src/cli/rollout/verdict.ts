/** How far a roll is, by the status of its deployment. Pure. */
import type { DeploymentObject } from '../../controller/operator/index.ts';

export interface Verdict {
  /** `paused` and `stalled` do not end by waiting. */
  readonly kind: 'done' | 'going' | 'paused' | 'stalled';
  readonly text: string;
}

export function verdictOn({ metadata, status }: DeploymentObject): Verdict {
  const condition = (type: string) => status?.conditions?.find((one) => one.type === type);
  if (status === undefined || status.observedGeneration !== metadata.generation)
    return {
      kind: 'going',
      text: 'the operator has not taken up the change yet: kubectl get pods -A -l app.kubernetes.io/component=operator',
    };
  const [ready, reconciling, stalled] = [condition('Ready'), condition('Reconciling'), condition('Stalled')];
  const counts = (status.roles ?? []).map(
    ({ role, desired, ready: up, updated, draining }) =>
      `${role} ${up}/${desired} ready, ${updated} updated${draining > 0 ? `, ${draining} draining` : ''}`,
  );
  const told = (why: string | undefined) => [...counts, ...(why ? [why] : [])].join('; ');
  if (stalled?.status === 'True') return { kind: 'stalled', text: told(`${stalled.reason}: ${stalled.message}`) };
  if (reconciling?.status !== 'False') return { kind: 'going', text: told(reconciling?.message) };
  if (reconciling.reason === 'Paused') return { kind: 'paused', text: told(reconciling.message) };
  if (ready?.status !== 'True') return { kind: 'going', text: told(ready?.message) };
  return { kind: 'done', text: told(`revision ${status.revision ?? ''}`) };
}
