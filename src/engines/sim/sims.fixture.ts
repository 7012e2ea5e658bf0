/** Simulated engines behind the HTTP face of their dialect, and no router. */
import { FREE_COSTS } from '../../api/facts/index.ts';
import { systemClock } from '../../shared/index.ts';
import { createEngineServer, type EngineServer } from '../openai/index.ts';
import { createSimEngine } from './engine.ts';
import { simFace } from './face.ts';
import type { SimOptions } from './options.ts';
import type { SimCore } from './simcore.ts';

export interface Sim {
  readonly core: SimCore;
  readonly server: EngineServer;
  readonly url: string;
}

export type Json = Record<string, unknown>;

const PATIENCE_MS = 5_000;
const LOOK_MS = 2;
const sims: Sim[] = [];

/** Until `stopSims`. */
export async function startSim(options: Pick<SimOptions, 'role' | 'dialect'> & Partial<SimOptions>): Promise<Sim> {
  const common = { modelName: 'tiny', instance: `s-${sims.length}`, clock: systemClock, costs: FREE_COSTS };
  const core = await createSimEngine({ ...common, ...options });
  const logger = { info: () => {}, warn: () => {}, error: () => {} };
  const server = createEngineServer({ core, logger, clock: systemClock, ...simFace(core, systemClock) });
  const sim = { core, server, url: (await server.listen('127.0.0.1', 0)).url };
  sims.push(sim);
  return sim;
}

export async function stopSims(): Promise<void> {
  for (const { core, server } of sims.splice(0)) {
    await core.close();
    await server.close();
  }
}

export function send({ url }: Sim, body: Json, signal: AbortSignal | null = null, path = '/v1/completions'): Promise<Response> {
  const text = JSON.stringify({ model: 'tiny', temperature: 0, ignore_eos: true, ...body });
  return fetch(`${url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text, signal });
}

/** Waits for a condition. @throws Error when it does not come about */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > giveUpAt) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
