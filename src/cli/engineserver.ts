/** `sluice engine` for the engines that run in this process: a core and its HTTP server. */
import { STORE_PASSWORD } from '../api/facts/index.ts';
import { createEngineServer, createSimEngine, type EngineCore, type EngineServer, simFace } from '../engines/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Context } from './context.ts';
import { drained } from './drained.ts';
import type { EngineFlags } from './engineflags.ts';
import { engineLogger } from './enginelogger.ts';
import type { KvSettings } from './kvservers.ts';
import type { KvTelling } from './kvtelling.ts';
import type { EndReason } from './lifetime.ts';
import { openStore } from './storeflag.ts';
import { weightsOf } from './weights.ts';

/** How long a vLLM whose core is dead still answers, before it ends. */
const DEATH_MS = 1_000;

export interface ServeOptions {
  readonly flags: EngineFlags;
  readonly context: Context;
  readonly ended: Promise<EndReason>;
}

/** Runs until a signal, or the end of the parent process. @throws SluiceError when the core dies, or has not what it needs */
export async function serveEngine({ flags, context, ended }: ServeOptions): Promise<void> {
  const logger = engineLogger(flags.instance);
  const dead = Promise.withResolvers<'dead'>();
  const { core, server } = await create({ flags, logger, context }, () => systemClock.after(DEATH_MS, () => dead.resolve('dead')));
  let telling: KvTelling | null = null;
  try {
    telling = flags.kv === null ? null : await tellOf(flags.kv, core, { env: context.env, logger });
    const { url } = await server.listen(flags.host, flags.port);
    announce(core, url, logger);
    const reason = await Promise.race([ended, dead.promise]);
    if (reason === 'dead') throw new SluiceError('engine_failed', 'the core is dead: it was given kv_transfer_params that do not fit');
    if (reason === 'signal') await drained(core, { drainMs: flags.drainMs, logger, clock: systemClock });
  } finally {
    // First, so that nobody looks here for what goes now.
    await telling?.stop();
    await stop(core, server);
  }
}

/** What talks to servers is loaded only where there are some. */
async function tellOf(settings: KvSettings, core: EngineCore, to: { env: Context['env']; logger: Logger }): Promise<KvTelling> {
  const { tellKv } = await import('./kvtelling.ts');
  return tellKv(settings, { info: core.info, source: core }, to);
}

interface Created {
  readonly core: EngineCore;
  readonly server: EngineServer;
}

interface Creation {
  readonly flags: EngineFlags;
  readonly logger: Logger;
  readonly context: Context;
}

/** @param onDeath called when a simulated vLLM's core is dead */
async function create({ flags, logger, context }: Creation, onDeath: () => void): Promise<Created> {
  const { type, modelPath, costs, vllm: _vllm, sglang: _sglang, kv: _kv, storeAt, ...options } = flags;
  const common = { logger, clock: systemClock };
  const store = await openStore(storeAt, context.env[STORE_PASSWORD] ?? null);
  if (type === 'sim') {
    const core = await createSimEngine({ ...options, store, costs, clock: systemClock, onDeath });
    return { core, server: createEngineServer({ core, ...common, ...simFace(core, systemClock) }) };
  }
  const { createLlamaCppEngine } = await import('../engines/llamacpp/index.ts');
  const core = await createLlamaCppEngine({
    ...options,
    store,
    modelPath: await weightsOf(modelPath ?? '', 'llamacpp', context.cacheFolder),
    clock: systemClock,
    onWarning: (message) => logger.warn(message),
  });
  return { core, server: createEngineServer({ core, ...common }) };
}

function announce(core: EngineCore, url: string, logger: Logger): void {
  const { instance, incarnation, role, engine, simulated, model, transfer } = core.info;
  logger.info({ url, engine, simulated, role, model, transfer: `${transfer.host}:${transfer.port}` }, `${instance} listens`);
  process.send?.({ type: 'listening', url, transfer: { host: transfer.host, port: transfer.port }, incarnation });
}

async function stop(core: EngineCore, server: EngineServer): Promise<void> {
  await core.close();
  await server.close();
}
