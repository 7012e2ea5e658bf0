/** What the kind of engine asks of other fields, each rule with its twin in CEL. Pure. Each expectation says what to do about it. */
import type { CheckedRole, CheckedSpec } from './finding.ts';
import { celText, type Rule } from './rule.ts';

/** Tokens that the built-in model of vllm can look back on. */
const TINY_CONTEXT_TOKENS = 8_192;
const TINY = 'builtin:tiny';

const ROLES = ['prefill', 'decode'] as const;
const IS_VLLM = "self.engine.type == 'vllm'";
const isVllm = ({ engine }: CheckedSpec) => engine.type === 'vllm';
const IS_SGLANG = "self.engine.type == 'sglang'";
const isSglang = ({ engine }: CheckedSpec) => engine.type === 'sglang';
const IS_FOREIGN = "self.engine.type in ['vllm', 'sglang']";
const isForeign = (spec: CheckedSpec) => isVllm(spec) || isSglang(spec);

/** A folder, or a name of the hub. */
const HUB_SOURCE = String.raw`^(?:\.{0,2}/|[A-Za-z0-9][-0-9A-Za-z_.]{0,95}/[A-Za-z0-9][-0-9A-Za-z_.]{0,95}$)`;
const hubSource = new RegExp(HUB_SOURCE);

const sourceRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'model.source',
    expected: 'builtin:tiny, or the path of a .gguf file',
    cel: `${IS_FOREIGN} || self.model.source == '${TINY}' || self.model.source.matches('.[.]gguf$') && !self.model.source.startsWith('builtin:')`,
    holds: (spec) => {
      const { source } = spec.model;
      return isForeign(spec) || source === TINY || (/.[.]gguf$/u.test(source) && !source.startsWith('builtin:'));
    },
  },
  {
    field: 'model.source',
    expected: 'builtin:tiny, a folder that starts with /, ./ or ../, or a name of the Hugging Face hub such as org/name',
    cel: `!(${IS_VLLM}) || self.model.source == '${TINY}' || self.model.source.matches(${celText(HUB_SOURCE)})`,
    holds: (spec) => !isVllm(spec) || spec.model.source === TINY || hubSource.test(spec.model.source),
  },
  {
    field: 'model.source',
    expected: 'with SGLang a folder that starts with /, ./ or ../, or a name of the Hugging Face hub such as org/name',
    cel: `!(${IS_SGLANG}) || self.model.source.matches(${celText(HUB_SOURCE)})`,
    holds: (spec) => !isSglang(spec) || hubSource.test(spec.model.source),
  },
];

/** In CEL; one accelerator unless told otherwise. */
const TENSOR = {
  prefill: '(has(self.prefill.parallelism) ? self.prefill.parallelism.tensor : 1)',
  decode: '(has(self.decode.parallelism) ? self.decode.parallelism.tensor : 1)',
} as const;

const SIM_PLACES = ['engine', ...ROLES] as const;
const simulationRules: readonly Rule<CheckedSpec>[] = SIM_PLACES.map((place) => ({
  field: `${place}.sim`,
  expected: 'no sim block with engine.type {engine.type}: remove it, or set engine.type to sim',
  cel: `self.engine.type == 'sim' || ${absent(place, 'sim')}`,
  holds: (spec) => spec.engine.type === 'sim' || spec[place]?.sim === undefined,
}));

const foreignOnlyRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'engine.dtype',
    expected: onlyForeign('dtype'),
    cel: `${IS_FOREIGN} || ${absent('engine', 'dtype')}`,
    holds: (spec) => isForeign(spec) || spec.engine.dtype === undefined,
  },
  ...ROLES.flatMap((role) =>
    (['accelerator', 'parallelism'] as const).map((name) => ({
      field: `${role}.${name}`,
      expected: onlyForeign(name),
      cel: `${IS_FOREIGN} || ${absent(role, name)}`,
      holds: (spec: CheckedSpec) => isForeign(spec) || spec[role]?.[name] === undefined,
    })),
  ),
];

const isAlone = (role: CheckedRole | undefined) => role?.accelerator === undefined && (role?.parallelism?.tensor ?? 1) > 1;
const tensorRules: readonly Rule<CheckedSpec>[] = ROLES.map((role) => ({
  field: `${role}.parallelism.tensor`,
  expected: `1 without ${role}.accelerator: set that, such as nvidia-h100, or remove this`,
  cel: `!(${IS_VLLM}) || ${absent(role, 'parallelism')} || has(self.${role}.accelerator) || self.${role}.parallelism.tensor == 1`,
  holds: (spec) => !isVllm(spec) || !isAlone(spec[role]),
}));

/** KV goes from memory of one kind to memory of the same kind. */
const pairRules: readonly Rule<CheckedSpec>[] = ROLES.map((role) => {
  const other = role === 'prefill' ? 'decode' : 'prefill';
  return {
    field: `${role}.accelerator`,
    expected: `an accelerator, since the other pool runs on {${other}.accelerator} and cannot hand KV over to or from a CPU: set it, or remove it there`,
    cel: `!(${IS_VLLM}) || !has(self.prefill) || has(self.${role}.accelerator) || !has(self.${other}.accelerator)`,
    holds: (spec) => !isVllm(spec) || !spec.prefill || spec[role]?.accelerator !== undefined || spec[other]?.accelerator === undefined,
  };
});

/** What vLLM's attention kernels can work with. */
const blockRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'kv.blockTokens',
    expected: '32 or 64 (tokens) with vLLM on the CPU: change it, or leave it out',
    cel: `!(${IS_VLLM}) || has(self.decode.accelerator) || !has(self.kv.blockTokens) || self.kv.blockTokens >= 32`,
    holds: (spec) => !isVllm(spec) || spec.decode.accelerator !== undefined || (spec.kv.blockTokens ?? 32) >= 32,
  },
  {
    field: 'kv.blockTokens',
    expected: '16 or 32 or 64 (tokens) with vLLM on an accelerator: change it, or leave it out',
    cel: `!(${IS_VLLM}) || !has(self.decode.accelerator) || !has(self.kv.blockTokens) || self.kv.blockTokens >= 16`,
    holds: (spec) => !isVllm(spec) || spec.decode.accelerator === undefined || (spec.kv.blockTokens ?? 16) >= 16,
  },
];

/** SGLang runs on accelerators, and its pools divide the heads of a layer so that every part has its counterpart. */
const sglangRules: readonly Rule<CheckedSpec>[] = [
  ...ROLES.map((role) => ({
    field: `${role}.accelerator`,
    expected: 'an accelerator with engine.type sglang: set it, such as nvidia-h100',
    cel: `!(${IS_SGLANG}) || ${role === 'prefill' ? '!has(self.prefill) || ' : ''}has(self.${role}.accelerator)`,
    holds: (spec: CheckedSpec) => !isSglang(spec) || (role === 'prefill' && !spec.prefill) || spec[role]?.accelerator !== undefined,
  })),
  {
    field: 'prefill.parallelism.tensor',
    expected: 'a multiple or a divisor of decode.parallelism.tensor, so that SGLang can hand KV over: change either',
    cel: `!(${IS_SGLANG}) || !has(self.prefill) || ${TENSOR.prefill} % ${TENSOR.decode} == 0 || ${TENSOR.decode} % ${TENSOR.prefill} == 0`,
    holds: (spec) => !isSglang(spec) || !spec.prefill || divides(tensorOf(spec.prefill), tensorOf(spec.decode)),
  },
  {
    field: 'engine.transferBackend',
    expected: 'no transferBackend with engine.type {engine.type}: remove it, or set engine.type to sglang',
    cel: `${IS_SGLANG} || ${absent('engine', 'transferBackend')}`,
    holds: (spec) => isSglang(spec) || spec.engine.transferBackend === undefined,
  },
  {
    field: 'kv.store',
    expected: 'no store with engine.type sglang, which offloads KV by itself (--enable-hierarchical-cache): remove it',
    cel: `!(${IS_SGLANG}) || !has(self.kv.store)`,
    holds: (spec) => !isSglang(spec) || spec.kv.store === undefined,
  },
];

function tensorOf(role: CheckedRole): number {
  return role.parallelism?.tensor ?? 1;
}

function divides(one: number, other: number): boolean {
  return one % other === 0 || other % one === 0;
}

/** vLLM keeps its KV itself; its own connectors can offload it. */
const storeRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'kv.store',
    expected: 'no store with engine.type vllm, whose own connectors offload KV: remove it, or set engine.type to llamacpp or sim',
    cel: `!(${IS_VLLM}) || !has(self.kv.store)`,
    holds: (spec) => !isVllm(spec) || spec.kv.store === undefined,
  },
];

const contextRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'engine.contextTokens',
    expected: `at most ${TINY_CONTEXT_TOKENS} (tokens), which builtin:tiny can look back on: lower it, or take another model`,
    cel: `!(${IS_VLLM}) || self.model.source != '${TINY}' || self.engine.contextTokens <= ${TINY_CONTEXT_TOKENS}`,
    holds: (spec) => !isVllm(spec) || spec.model.source !== TINY || spec.engine.contextTokens <= TINY_CONTEXT_TOKENS,
  },
];

export const engineRules: readonly Rule<CheckedSpec>[] = [
  ...sourceRules,
  ...simulationRules,
  ...foreignOnlyRules,
  ...sglangRules,
  ...tensorRules,
  ...pairRules,
  ...blockRules,
  ...storeRules,
  ...contextRules,
];

function onlyForeign(name: string): string {
  return `no ${name} with engine.type {engine.type}: remove it, or set engine.type to vllm or sglang`;
}

/** CEL: there is no `name` in `place`. Only the prefill pool may be missing itself. */
function absent(place: 'engine' | 'prefill' | 'decode', name: string): string {
  const whole = place === 'prefill' ? '!has(self.prefill) || ' : '';
  return `${whole}!has(self.${place}.${name})`;
}
