/** `sluice rollout pause` and `resume`. */
import { type Cluster, findDeployment, patchDeployment } from './access.ts';

type Print = (line: string) => void;

export async function rolloutPause(cluster: Cluster, name: string, print: Print): Promise<number> {
  const found = await findDeployment(cluster, name);
  if (found.spec.rollout.paused) {
    print(`${name} is paused already`);
    return 0;
  }
  await patchDeployment(cluster, found, { rollout: { paused: true } });
  print(`${name} is paused: a step that has begun is ended, no other one begins; edits wait, sizes, restarts and drains go on`);
  print(`Go on with: sluice rollout resume ${name}`);
  return 0;
}

export async function rolloutResume(cluster: Cluster, name: string, print: Print): Promise<number> {
  const found = await findDeployment(cluster, name);
  if (!found.spec.rollout.paused) {
    print(`${name} is not paused`);
    return 0;
  }
  // Absent is false, and nobody holds the field then.
  await patchDeployment(cluster, found, { rollout: { paused: null } });
  print(`${name} goes on; follow it with: sluice rollout status ${name}`);
  return 0;
}
