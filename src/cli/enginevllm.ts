/** `sluice engine --type vllm`: one vLLM and the agent beside it. */
import {
  createVllmAgent,
  explainOverride,
  findOverrides,
  findVllm,
  type OpenView,
  pickPorts,
  takeDevice,
  type VllmSpec,
} from '../engines/vllm/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import type { Context } from './context.ts';
import { type BesideOptions, type Created, serveBeside } from './enginebeside.ts';
import type { EngineFlags } from './engineflags.ts';
import type { VllmFlags } from './engineflagsvllm.ts';
import { weightsOf } from './weights.ts';

export interface VllmEngineOptions extends BesideOptions {
  readonly flags: EngineFlags & { readonly vllm: VllmFlags };
}

/** @throws SluiceError with the reason when vLLM does not come up, or ends by itself */
export function serveVllm(options: VllmEngineOptions): Promise<void> {
  return serveBeside(options, { create: (warn) => createAgent(options, warn), importView });
}

/** Its native library is loaded while vLLM loads its model. */
const importView = () => import('../engines/vllm/view/index.ts');

const openView: OpenView = async (options) => (await importView()).openView(options);

/** @param warn called only once the agent is started */
async function createAgent({ flags, context }: VllmEngineOptions, warn: (text: string) => void): Promise<Created> {
  const { vllm, host, instance } = flags;
  const { env } = context;
  const wrong = findOverrides(vllm.extra, env);
  if (wrong.length > 0) throw new SluiceError('invalid_request', wrong.map(explainOverride).join('; '));
  const { device, warning } = await takeDevice({ ...vllm, cores: coresOf(env, vllm.cores), env });
  const agent = createVllmAgent({
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
