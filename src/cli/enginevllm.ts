/** `sluice engine --type vllm`: one vLLM and the agent beside it. */
import {
  explainOverride,
  findOverrides,
  findVllm,
  type OpenView,
  pickPorts,
  takeDevice,
  VllmAgent,
  type VllmSpec,
} from '../engines/vllm/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import type { Logger } from '../telemetry/index.ts';
import type { Context } from './context.ts';
import { drained } from './drained.ts';
import type { EngineFlags } from './engineflags.ts';
import type { VllmFlags } from './engineflagsvllm.ts';
import type { KvTelling } from './kvtelling.ts';
import type { EndReason } from './lifetime.ts';
import { weightsOf } from './weights.ts';

/** From SIGTERM to SIGKILL, below what those who end us wait. */
const STOP_MS = 5_000;
/** Nobody is left who waits for answers. */
const ORPHAN_STOP_MS = 1_000;

export interface VllmEngineOptions {
  readonly flags: EngineFlags & { readonly vllm: VllmFlags };
  readonly context: Context;
  readonly ended: Promise<EndReason>;
}

/**
 * Runs until a signal, or the end of the parent process. vLLM is started before anything is loaded that is not needed for it: it takes
 * many seconds to start, and all the rest fits into them.
 * @throws SluiceError with the reason when vLLM does not come up, or ends by itself
 */
export async function serveVllm(options: VllmEngineOptions): Promise<void> {
  const { flags, context, ended } = options;
  let logger: Logger | null = null;
  const { agent, warning } = await createAgent(options, (text) => logger?.warn({}, text));
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

/** Its native library is loaded while vLLM loads its model. */
const importView = () => import('../engines/vllm/view/index.ts');

const openView: OpenView = async (options) => (await importView()).openView(options);

interface Created {
  readonly agent: VllmAgent;
  /** For the log; null = nothing. */
  readonly warning: string | null;
}

/** @param warn called only once the agent is started */
async function createAgent({ flags, context }: VllmEngineOptions, warn: (text: string) => void): Promise<Created> {
  const { vllm, host, instance } = flags;
  const { env } = context;
  const wrong = findOverrides(vllm.extra, env);
  if (wrong.length > 0) throw new SluiceError('invalid_request', wrong.map(explainOverride).join('; '));
  const { device, warning } = await takeDevice({ ...vllm, cores: coresOf(env, vllm.cores), env });
  const agent = new VllmAgent({
    spec: { ...specOf(flags, vllm), model: await weightsOf(vllm.model, 'vllm', context.cacheFolder) },
    instance,
    host,
    port: flags.port,
    ports: await pickPorts(host),
    device,
    executable: vllm.executable ?? findVllm({ cacheFolder: context.cacheFolder, env, accelerator: vllm.accelerator }),
    env,
    startMs: vllm.startMs,
    clock: systemClock,
    openView,
    warn,
    onLine: (line) => process.stderr.write(`${line}\n`),
    onProgress: () => process.send?.({ type: 'starting' }),
  });
  return { agent, warning };
}

function specOf(flags: EngineFlags, { revision, dtype, tensorParallel, extra }: VllmFlags): Omit<VllmSpec, 'model'> {
  const { role, modelName, contextTokens, maxSequences, blockTokens, hbmBytes, leaseMs } = flags;
  return { role, revision, modelName, dtype, tensorParallel, contextTokens, maxSequences, blockTokens, hbmBytes, leaseMs, extra };
}

/** The flag is what was asked for; the variable is for those who only write the resource. */
function coresOf(env: Context['env'], flag: number | null): number {
  if (flag !== null) return flag;
  const text = env['SLUICE_CORES'] ?? '1';
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new SluiceError('invalid_request', `SLUICE_CORES must be a whole number from 1 to 9999; got "${text.slice(0, 100)}"`);
}

/** Before vLLM is up: whoever started us waits for it at this address. */
function announce(agent: VllmAgent, { url, flags }: { url: string; flags: EngineFlags }): void {
  process.send?.({ type: 'listening', url, transfer: { host: flags.host, port: agent.ports.sideChannel }, incarnation: agent.incarnation });
}
