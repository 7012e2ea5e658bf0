/** `sluice engine` for engines that are programs of others: one of them and the agent beside it. */
import type { EngineAgent, OpenView } from '../engines/vllm/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Context } from './context.ts';
import { drained } from './drained.ts';
import type { EngineFlags } from './engineflags.ts';
import type { KvTelling } from './kvtelling.ts';
import type { EndReason } from './lifetime.ts';

/** From SIGTERM to SIGKILL, below what those who end us wait. */
const STOP_MS = 5_000;
/** Nobody is left who waits for answers. */
const ORPHAN_STOP_MS = 1_000;

export interface BesideOptions {
  readonly flags: EngineFlags;
  readonly context: Context;
  readonly ended: Promise<EndReason>;
}

export interface Created {
  readonly agent: EngineAgent;
  /** For the log; null = nothing. */
  readonly warning: string | null;
}

export interface Beside {
  /** @param warn called only once the agent is started */
  readonly create: (warn: (text: string) => void) => Promise<Created>;
  /** Loads its native library, while the engine loads its model. */
  readonly importView: () => Promise<{ readonly openView: OpenView }>;
}

/**
 * Runs until a signal, or the end of the parent process. The engine is started before anything is loaded that is not needed for it: it takes
 * many seconds to start, and all the rest fits into them.
 * @throws SluiceError with the reason when the engine does not come up, or ends by itself
 */
export async function serveBeside({ flags, context, ended }: BesideOptions, { create, importView }: Beside): Promise<void> {
  let logger: Logger | null = null;
  const { agent, warning } = await create((text) => logger?.warn({}, text));
  let stopMs = STOP_MS;
  let telling: KvTelling | null = null;
  try {
    const url = await agent.listen();
    announce(agent, { url, flags });
    const [{ engineLogger }] = await Promise.all([import('./enginelogger.ts'), importView()]);
    logger = engineLogger(flags.instance);
    if (warning !== null) logger.warn({}, warning);
    const lost = agent.ended.then((why): never => {
      throw new SluiceError('engine_failed', why);
    });
    const started = await Promise.race([ended, lost, agent.start()]);
    if (started === undefined) {
      if (process.connected) process.send?.({ type: 'ready' });
      logger.info({ url, requestUrl: agent.info?.requestUrl, role: flags.role }, `${flags.instance} serves`);
    }
    const { info, source } = agent;
    if (flags.kv !== null && info !== null && source !== null) {
      const { tellKv } = await import('./kvtelling.ts');
      telling = await tellKv(flags.kv, { info, source }, { env: context.env, logger });
    }
    const reason = await Promise.race([ended, lost]);
    if (reason === 'parent') stopMs = ORPHAN_STOP_MS;
    else if (agent.info !== null) await drained(agent, { drainMs: flags.drainMs, logger, clock: systemClock });
  } finally {
    await telling?.stop();
    await agent.close(stopMs);
  }
}

/** Before the engine is up: whoever started us waits for it at this address. */
function announce(agent: EngineAgent, { url, flags }: { url: string; flags: EngineFlags }): void {
  process.send?.({ type: 'listening', url, transfer: { host: flags.host, port: agent.ports.sideChannel }, incarnation: agent.incarnation });
}
