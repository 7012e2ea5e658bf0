/**
 * Arguments and variables of the engine process that follow from other fields, or that would part an instance from its peers and its
 * router; a second value would contradict them. Pure.
 */
import type { CheckedSpec, Finding } from './finding.ts';
import { type CelRule, celList, celText } from './rule.ts';

/** Why it is refused; null = it follows from other fields. */
type Refused = Readonly<Record<string, string | null>>;

const FOLLOWS = 'which Sluice sets from the other fields';

/** Flags of `sluice engine`. */
const OURS: Refused = refusedWith(null, [
  'drain-ms',
  'type',
  'role',
  'instance',
  'model-name',
  'model',
  'host',
  'port',
  'context',
  'sequences',
  'block-tokens',
  'hbm-bytes',
  'host-bytes',
  'store',
  'lease-ms',
  'costs',
  'kv',
]);

const EVENTS = 'without which the router does not know what is in the KV cache';
const TOKENS = 'since the router makes the same tokens from the files of the model';
const ONE_PROCESS = 'since one instance has one engine that takes requests';
const REACHED = 'since the router would not reach it';

/** Flags of `vllm serve`. */
const VLLM: Refused = {
  ...refusedWith(null, [
    'model',
    'revision',
    'served-model-name',
    'host',
    'port',
    'dtype',
    'max-model-len',
    'max-num-seqs',
    'block-size',
    'tensor-parallel-size',
    'kv-cache-memory-bytes',
    'kv-transfer-config',
    'kv-events-config',
    'prefix-caching-hash-algo',
  ]),
  ...refusedWith(EVENTS, ['no-enable-prefix-caching', 'disable-log-stats', 'no-enable-prompt-tokens-details']),
  ...refusedWith(TOKENS, [
    'tokenizer',
    'tokenizer-revision',
    'tokenizer-mode',
    'skip-tokenizer-init',
    'tokens-only',
    'chat-template',
    'default-chat-template-kwargs',
  ]),
  ...refusedWith(ONE_PROCESS, [
    'data-parallel-size',
    'pipeline-parallel-size',
    'decode-context-parallel-size',
    'prefill-context-parallel-size',
    'api-server-count',
    'headless',
    'nnodes',
  ]),
  ...refusedWith(REACHED, ['uds', 'root-path', 'api-key', 'ssl-keyfile', 'ssl-certfile', 'ssl-ca-certs']),
  'kv-cache-dtype': 'since engine.dtype is also that of the KV',
  config: 'since a file could set what is refused here: write its lines as arguments',
};

/** The short forms that vLLM has of them. */
const VLLM_SHORT: Readonly<Record<string, string>> = {
  tp: 'tensor-parallel-size',
  pp: 'pipeline-parallel-size',
  dp: 'data-parallel-size',
  dcp: 'decode-context-parallel-size',
  pcp: 'prefill-context-parallel-size',
  asc: 'api-server-count',
  n: 'nnodes',
};

const VLLM_VARIABLES: Refused = {
  ...refusedWith(null, [
    'PYTHONHASHSEED',
    'VLLM_NIXL_SIDE_CHANNEL_HOST',
    'VLLM_NIXL_SIDE_CHANNEL_PORT',
    'VLLM_CPU_KVCACHE_SPACE',
    'VLLM_API_KEY',
  ]),
  VLLM_KV_CACHE_LAYOUT: 'since instances hand KV over in one layout',
  VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES: EVENTS,
  VLLM_SERVER_DEV_MODE: 'since it lets any client stop the engine',
};

export function ownArguments(engine: Pick<CheckedSpec['engine'], 'type' | 'args' | 'env'>): Finding[] {
  const { refused, flagOf } = engine.type === 'vllm' ? { refused: VLLM, flagOf: vllmFlag } : { refused: OURS, flagOf: ourFlag };
  const args = engine.args.flatMap((text, index) => {
    const flag = flagOf(text);
    const written = text.split('=', 1)[0] ?? text;
    return flag !== null && Object.hasOwn(refused, flag)
      ? [{ path: ['engine', 'args', index], expected: refusal(`no ${written}`, refused[flag] ?? null) }]
      : [];
  });
  return [...args, ...(engine.type === 'vllm' ? variables(engine.env) : [])];
}

function variables(env: Readonly<Record<string, string>>): Finding[] {
  return Object.keys(env).flatMap((name) =>
    Object.hasOwn(VLLM_VARIABLES, name)
      ? [{ path: ['engine', 'env', name], expected: refusal(`no ${name}`, VLLM_VARIABLES[name] ?? null) }]
      : [],
  );
}

function refusal(what: string, why: string | null): string {
  return `${what}, ${why ?? FOLLOWS}: remove it`;
}

function ourFlag(text: string): string | null {
  return /^--([a-z-]+)(?:=|$)/.exec(text)?.[1] ?? null;
}

/** The refused flag that vLLM would read: it takes `_` for `-`, unique beginnings of names, and `--name.field` for fields of JSON. */
function vllmFlag(text: string): string | null {
  const short = /^-([a-z]{1,3})(?:=|$|\d)/.exec(text)?.[1];
  if (short !== undefined) return VLLM_SHORT[short] ?? null;
  const name = /^--([A-Za-z][-\w]*)/.exec(text)?.[1]?.replaceAll('_', '-');
  if (name === undefined) return null;
  return Object.keys(VLLM).find((flag) => flag === name) ?? Object.keys(VLLM).find((flag) => flag.startsWith(name)) ?? null;
}

export interface Refusal {
  readonly engine: string;
  readonly why: string;
  /** Flags with their dashes, or names of variables. */
  readonly names: readonly string[];
}

/** Every refusal, for the reference. */
export const refusals: readonly Refusal[] = [
  ...reasons(OURS).map(([why, names]) => ({ engine: 'llamacpp, sim', why: why ?? FOLLOWS, names: names.map(asFlag) })),
  ...reasons(VLLM).map(([why, names]) => ({
    engine: 'vllm',
    why: why ?? FOLLOWS,
    names: [...names.map(asFlag), ...shortForms(names).map((one) => `-${one}`)],
  })),
  ...reasons(VLLM_VARIABLES).map(([why, names]) => ({ engine: 'vllm', why: why ?? FOLLOWS, names })),
];

function asFlag(name: string): string {
  return `--${name}`;
}

function shortForms(flags: readonly string[]): string[] {
  return Object.keys(VLLM_SHORT).filter((one) => flags.includes(VLLM_SHORT[one] ?? ''));
}

/** The same refusals for a kube-apiserver, one rule for each reason. They name the first argument or variable that is refused. */
export const argumentRules: readonly CelRule[] = [
  ...reasons(OURS).map(([why, flags]) =>
    argumentRule("self.engine.type == 'vllm'", `arg.matches('^--(?:${flags.join('|')})(?:=|$)')`, why),
  ),
  ...reasons(VLLM).map(([why, flags]) => argumentRule("self.engine.type != 'vllm'", vllmArgument(flags), why)),
  ...reasons(VLLM_VARIABLES).map(([why, names]) => variableRule(names, why)),
];

function argumentRule(unless: string, isRefused: string, why: string | null): CelRule {
  const refused = `self.engine.args.filter(arg, ${isRefused})`;
  return {
    rule: `${unless} || !self.engine.args.exists(arg, ${isRefused})`,
    messageExpression: `'expected no ' + ${refused}[0].split('=')[0] + ${celText(refusal('', why))}`,
    fieldPath: '.engine.args',
  };
}

/** `vllmFlag` in CEL. */
function vllmArgument(flags: readonly string[]): string {
  const name = "arg.find('^--[A-Za-z][-A-Za-z0-9_]*').replace('_', '-').substring(2)";
  const long = `arg.matches('^--[A-Za-z]') && ${celList(flags)}.exists(flag, flag.startsWith(${name}))`;
  const short = shortForms(flags);
  return short.length === 0 ? long : `arg.matches('^-(?:${short.join('|')})(?:=|$|[0-9])') || ${long}`;
}

function variableRule(names: readonly string[], why: string | null): CelRule {
  return {
    rule: `self.engine.type != 'vllm' || !${celList(names)}.exists(name, name in self.engine.env)`,
    messageExpression: `'expected no ' + ${celList(names)}.filter(name, name in self.engine.env)[0] + ${celText(refusal('', why))}`,
    fieldPath: '.engine.env',
  };
}

/** What is refused, by the reason. */
function reasons(refused: Refused): [why: string | null, names: string[]][] {
  return [...Map.groupBy(Object.keys(refused), (name) => refused[name] ?? null)];
}

function refusedWith(why: string | null, names: readonly string[]): Refused {
  return Object.fromEntries(names.map((name) => [name, why]));
}
