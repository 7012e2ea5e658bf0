/** Our router with simulated vLLM instances behind it, one process for each role. */
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Role } from '../../src/engines/index.ts';
import type { Child, Children } from './children.ts';
import { BLOCK_TOKENS, type Front, type Layout } from './peers-dynamo.ts';
import type { EngineGroup, FromEngines } from './peers-engines.ts';
import { writeModelFolder } from './peers-model.ts';
import { type Engine, startRouter } from './sluice.ts';

const SCRIPT = fileURLToPath(new URL('./peers-engines.ts', import.meta.url));
const START_LIMIT_MS = 60_000;

export interface OurPlace {
  readonly children: Children;
  readonly layout: Layout;
  readonly cores: { readonly front: readonly number[] | null; readonly engines: readonly number[] | null };
}

/** Resolves when a request went through it. @throws Error with its last output */
export async function startOurs({ children, layout, cores }: OurPlace): Promise<Front> {
  const model = path.join(mkdtempSync(path.join(children.folder, 'ours-')), 'model');
  writeModelFolder(model);
  const processes: Child[] = [];
  const engines: Engine[] = [];
  for (const role of ['mixed', 'prefill', 'decode'] as const satisfies readonly Role[]) {
    const count = layout[role];
    if (count === 0) continue;
    const group: EngineGroup = { role, count, blockTokens: BLOCK_TOKENS, model };
    const child = children.start(`${role} engines`, [process.execPath, SCRIPT, JSON.stringify(group)], { cores: cores.engines, ipc: true });
    processes.push(child);
    const listening = await listeningEngines(child);
    engines.push(...listening.map((engine) => ({ ...engine, port: Number(new URL(engine.url).port), child })));
  }
  const router = await startRouter(children, engines, { cores: cores.front, nodeFlags: [], flags: [] });
  processes.push(router.child);
  return {
    name: 'sluice',
    port: router.port,
    pid: router.child.pid,
    check: () => {
      for (const child of processes) if (!child.running()) throw new Error(`${child.name} ended: ${child.tail().slice(-2000)}`);
    },
    stop: async () => {
      await Promise.all(processes.map((child) => child.stop()));
    },
  };
}

function listeningEngines(child: Child): Promise<FromEngines['engines']> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new Error(`${child.name} ${why}: ${child.tail().slice(-2000)}`));
    };
    const timer = setTimeout(() => fail(`were not there after ${START_LIMIT_MS / 1000} s`), START_LIMIT_MS);
    child.process.once('message', (message: FromEngines) => {
      clearTimeout(timer);
      resolve(message.engines);
    });
    child.process.once('close', () => fail('ended while starting'));
  });
}
