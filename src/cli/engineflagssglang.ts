/** What only `sluice engine --type sglang` takes. Pure. */
import type { TransferBackend } from '../engines/sglang/index.ts';
import { type GivenVllmFlags, isGiven, mistakeIn, type VLLM_NUMBERS, type VllmFlags, vllmFlagsOf } from './engineflagsvllm.ts';

/** As for vLLM, on accelerators alone. */
export interface SglangFlags extends Omit<VllmFlags, 'executable' | 'cores' | 'accelerator'> {
  readonly accelerator: string;
  readonly transferBackend: TransferBackend;
}

export const SGLANG_DEFINITIONS = { 'transfer-backend': { type: 'string' } } as const;

export type GivenSglangFlags = GivenVllmFlags & { readonly 'transfer-backend': string | null };

const BACKENDS: readonly TransferBackend[] = ['mooncake', 'nixl'];

/** What is wrong with them, or null. */
export function sglangMistake(given: GivenSglangFlags, type: string): string | null {
  const backend = given['transfer-backend'];
  if (type !== 'sglang') return backend === null ? null : '--transfer-backend is for --type sglang';
  const alien = ['vllm', 'cores'].find((name) => isGiven(given, name));
  if (alien !== undefined) return `--${alien} is for --type vllm`;
  if (given.accelerator === null) return '--accelerator must be what SGLang runs on, such as nvidia-h100; it is missing';
  if (backend !== null && !BACKENDS.some((one) => one === backend)) {
    return `--transfer-backend must be one of ${BACKENDS.join(', ')}; got "${backend}"`;
  }
  return mistakeIn(given, type);
}

export function sglangFlagsOf(given: GivenSglangFlags, number: (name: keyof typeof VLLM_NUMBERS) => number): SglangFlags {
  const { executable: _executable, cores: _cores, ...shared } = vllmFlagsOf(given, number);
  const transferBackend = BACKENDS.find((one) => one === given['transfer-backend']) ?? 'mooncake';
  return { ...shared, accelerator: given.accelerator ?? '', transferBackend };
}

export const SGLANG_HELP = `For --type sglang: --model, --revision, --dtype, --accelerator, --tensor-parallel, --start-ms and --engine-arg as for vllm, and
  --transfer-backend NAME  mooncake (default) or nixl: what carries KV to other instances
The python that has sglang is SLUICE_SGLANG, else python3 on the path.
`;
