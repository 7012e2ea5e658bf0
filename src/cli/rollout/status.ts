/** `sluice rollout status`: follows a roll to its end. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Cluster, findDeployment } from './access.ts';
import { verdictOn } from './verdict.ts';

const EVERY_MS = 500;

export interface StatusOptions {
  readonly wait: boolean;
  readonly timeoutMs: number;
  readonly print: (line: string) => void;
}

/** @returns the exit code: 0 when everything runs as wanted. */
export async function rolloutStatus(cluster: Cluster, name: string, { wait, timeoutMs, print }: StatusOptions): Promise<number> {
  const deadlineMs = performance.now() + timeoutMs;
  let told = '';
  for (;;) {
    const verdict = verdictOn((await findDeployment(cluster, name)).object);
    const line = `${name}: ${verdict.text}`;
    if (line !== told) print(line);
    told = line;
    switch (verdict.kind) {
      case 'done':
        print(`${name}: done`);
        return 0;
      case 'paused':
        print(`${name}: paused, so it does not end by itself; go on with: sluice rollout resume ${name}`);
        return 1;
      case 'stalled':
        print(`${name}: it will hardly end by itself; mend what is named, or go back with: sluice rollout undo ${name}`);
        return 1;
      case 'going':
        if (!wait) return 1;
        if (performance.now() > deadlineMs) {
          print(`${name}: not done within ${timeoutMs / 1_000} s; go on waiting with: sluice rollout status ${name}`);
          return 1;
        }
    }
    await delay(EVERY_MS);
  }
}
