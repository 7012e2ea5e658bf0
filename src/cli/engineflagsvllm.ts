/** What only `sluice engine --type vllm` takes. Pure. */
export interface VllmFlags {
  /** Folder of the model, or its name on the hub. */
  readonly model: string;
  /** Branch, tag or commit of a model of the hub; null = its default. */
  readonly revision: string | null;
  /** Path of the `vllm` executable; null = the one that `sluice engines install` made. */
  readonly executable: string | null;
  readonly dtype: string;
  /** Null = the CPU. */
  readonly accelerator: string | null;
  readonly tensorParallel: number;
  /** Logical processors for the compute of one engine on a CPU; null = as the environment says. */
  readonly cores: number | null;
  /** Longest time until vLLM serves. */
  readonly startMs: number;
  /** Arguments for `vllm serve`. */
  readonly extra: readonly string[];
}

const TEXT = { type: 'string' } as const;

export const VLLM_DEFINITIONS = {
  vllm: TEXT,
  revision: TEXT,
  dtype: TEXT,
  accelerator: TEXT,
  'tensor-parallel': TEXT,
  cores: TEXT,
  'start-ms': TEXT,
  'engine-arg': { type: 'string', multiple: true },
} as const;

export type GivenVllmFlags = { readonly [K in Exclude<keyof typeof VLLM_DEFINITIONS, 'engine-arg'>]: string | null } & {
  readonly 'engine-arg': readonly string[];
  readonly model: string | null;
};

export const VLLM_NUMBERS = {
  'tensor-parallel': { min: 1, max: 64, fallback: 1 },
  cores: { min: 1, max: 1024, fallback: 1 },
  'start-ms': { min: 1000, max: 86_400_000, fallback: 3_600_000 },
} as const;

const DTYPES = ['auto', 'bfloat16', 'float16', 'float32'];

/** What is wrong with them, or null. */
export function vllmMistake(given: GivenVllmFlags, type: string): string | null {
  const alien = Object.keys(VLLM_DEFINITIONS).find((name) => isGiven(given, name));
  if (type !== 'vllm') return alien === undefined ? null : `--${alien} is for --type vllm`;
  return mistakeIn(given, type);
}

/** What is wrong with those that engines of others have in common, or null. */
export function mistakeIn(given: GivenVllmFlags, type: string): string | null {
  if (given.model === null) return `--model must be a folder or a name of the Hugging Face hub for --type ${type}; it is missing`;
  if (given.dtype !== null && !DTYPES.includes(given.dtype)) return `--dtype must be one of ${DTYPES.join(', ')}; got "${given.dtype}"`;
  if (given.cores !== null && given.accelerator !== null) return '--cores is for engines on a CPU; remove it, or --accelerator';
  return null;
}

export function vllmFlagsOf(given: GivenVllmFlags, number: (name: keyof typeof VLLM_NUMBERS) => number): VllmFlags {
  return {
    model: given.model ?? '',
    revision: given.revision,
    executable: given.vllm,
    dtype: given.dtype ?? 'auto',
    accelerator: given.accelerator,
    tensorParallel: number('tensor-parallel'),
    cores: given.cores === null ? null : number('cores'),
    startMs: number('start-ms'),
    extra: given['engine-arg'],
  };
}

export function isGiven(given: object, name: string): boolean {
  const [, value] = Object.entries(given).find(([key]) => key === name) ?? [];
  return Array.isArray(value) ? value.length > 0 : typeof value === 'string';
}

export const VLLM_HELP = `For --type vllm:
  --model PATH|NAME      folder of the model, its name on the Hugging Face hub, or builtin:tiny
  --revision NAME        branch, tag or commit of a model of the hub (default main)
  --vllm PATH            the vllm executable (default: SLUICE_VLLM, else what \`sluice engines install\` made)
  --dtype NAME           auto, bfloat16, float16 or float32 (default auto)
  --accelerator NAME     what it runs on, such as nvidia-h100 (default: the CPU)
  --tensor-parallel N    accelerators that share every layer (default 1)
  --cores N              processors that compute on a CPU (default: SLUICE_CORES, else 1)
  --start-ms N           longest time until it serves (default 3600000)
  --engine-arg=ARG       passed on to \`vllm serve\`; may be given several times
`;
