/** One engine of the deployment's kind that does whole requests alone: what the pools' answers are compared with. */
import type { ServingDeployment } from '../../api/index.ts';
import { desiredOf } from '../../controller/index.ts';
import { type Observed, ProcessPlatform, type RunningProcess } from '../../platform/index.ts';
import { sleep, systemClock } from '../../shared/index.ts';
import type { Context } from '../context.ts';
import { weightsPath } from '../weights.ts';

export interface Reference {
  /** Rejects when it does not come up. */
  readonly url: Promise<string>;
  processes(): readonly RunningProcess[];
  close(): Promise<{ readonly files: number }>;
}

const LOOK_MS = 50;
const STOP_MS = 5_000;
const NAME = 'reference';

export function startReference(deployment: ServingDeployment, context: Context): Reference {
  const platform = new ProcessPlatform({
    executable: context.executable,
    entry: context.entry,
    host: '127.0.0.1',
    environment: context.childEnv,
    tempRoot: context.tempFolder,
    clock: systemClock,
    modelPath: (source, engine) => weightsPath(source, engine, context.cacheFolder),
    onChange: () => {},
    onLine: () => {},
    instanceStopMs: STOP_MS,
    routerStopMs: STOP_MS,
  });
  return {
    url: bringUp(platform, deployment),
    processes: () => platform.processes(),
    close: () => platform.close({ routerMs: STOP_MS, instanceMs: STOP_MS }),
  };
}

async function bringUp(platform: ProcessPlatform, deployment: ServingDeployment): Promise<string> {
  const desired = desiredOf(deployment);
  const pool = desired.pools.decode ?? desired.pools.mixed;
  if (!pool) throw new Error('the deployment has no decode pool');
  const spec = { ...pool.spec, role: 'mixed' as const };
  const { revision } = pool;
  const outcome = await platform.apply({
    type: 'startInstance',
    name: NAME,
    spec,
    revision,
    family: desired.family,
    reason: 'the quickstart compares with it',
  });
  if (!outcome.ok) throw new Error(outcome.message);
  for (;;) {
    const found = state(await platform.observe());
    if (found.url !== null) return found.url;
    if (found.ended !== null) throw new Error(found.ended);
    await sleep(systemClock, LOOK_MS);
  }
}

/** The platform bounds the start, so one of the two comes. */
function state({ instances }: Observed): { url: string | null; ended: string | null } {
  const [instance] = instances;
  if (instance?.phase === 'ready') return { url: instance.address?.url ?? null, ended: null };
  if (instance?.phase === 'starting') return { url: null, ended: null };
  return { url: null, ended: `the single engine to compare with ended: ${instance?.lastError ?? 'it was stopped'}` };
}
