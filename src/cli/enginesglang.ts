/** `sluice engine --type sglang`: one SGLang and the agent beside it. */
import {
  createSglangAgent,
  explainOverride,
  findOverrides,
  findSglang,
  type OpenView,
  pickPorts,
  type SglangSpec,
  takeDevice,
} from '../engines/sglang/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import { type BesideOptions, type Created, serveBeside } from './enginebeside.ts';
import type { EngineFlags } from './engineflags.ts';
import type { SglangFlags } from './engineflagssglang.ts';
import { weightsOf } from './weights.ts';

export interface SglangEngineOptions extends BesideOptions {
  readonly flags: EngineFlags & { readonly sglang: SglangFlags };
}

/** @throws SluiceError with the reason when SGLang does not come up, or ends by itself */
export function serveSglang(options: SglangEngineOptions): Promise<void> {
  return serveBeside(options, { create: (warn) => createAgent(options, warn), importView });
}

/** Its native library is loaded while SGLang loads its model. */
const importView = () => import('../engines/sglang/view/index.ts');

const openView: OpenView = async (options) => (await importView()).openView(options);

/** @param warn called only once the agent is started */
async function createAgent({ flags, context }: SglangEngineOptions, warn: (text: string) => void): Promise<Created> {
  const { sglang, host, instance } = flags;
  const { env } = context;
  const wrong = findOverrides(sglang.extra, env);
  if (wrong.length > 0) throw new SluiceError('invalid_request', wrong.map(explainOverride).join('; '));
  const { device, warning } = await takeDevice({ ...sglang, cores: 1, env });
  const agent = createSglangAgent({
    spec: { ...specOf(flags, sglang), model: await weightsOf(sglang.model, 'sglang', context.cacheFolder) },
    instance,
    host,
    port: flags.port,
    ports: await pickPorts(host),
    device,
    executable: findSglang(env),
    env,
    startMs: sglang.startMs,
    clock: systemClock,
    openView,
    warn,
    onLine: (line) => process.stderr.write(`${line}\n`),
    onProgress: () => process.send?.({ type: 'starting' }),
  });
  return { agent, warning };
}

function specOf(flags: EngineFlags, { revision, dtype, tensorParallel, transferBackend, extra }: SglangFlags): Omit<SglangSpec, 'model'> {
  const { role, modelName, contextTokens, maxSequences, blockTokens } = flags;
  return { role, revision, modelName, dtype, tensorParallel, transferBackend, contextTokens, maxSequences, blockTokens, extra };
}
