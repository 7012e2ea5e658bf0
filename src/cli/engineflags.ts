/** The flags of `sluice engine`, checked. Pure. */
import type { Dialect, EngineCosts, EngineType, Role } from '../engines/index.ts';
import { SGLANG_DEFINITIONS, SGLANG_HELP, type SglangFlags, sglangFlagsOf, sglangMistake } from './engineflagssglang.ts';
import { VLLM_DEFINITIONS, VLLM_HELP, VLLM_NUMBERS, type VllmFlags, vllmFlagsOf, vllmMistake } from './engineflagsvllm.ts';
import { type FlagDefinition, parseFlags } from './flags.ts';
import { type KvSettings, readKvSettings } from './kvservers.ts';
import { type StoreAt, storeOf } from './storeflag.ts';
import { WrongFlag } from './wrongflag.ts';

export interface EngineFlags {
  readonly type: EngineType;
  readonly role: Role;
  readonly instance: string;
  readonly modelName: string;
  /** Path to a GGUF; null for other engines. */
  readonly modelPath: string | null;
  readonly host: string;
  readonly port: number;
  readonly contextTokens: number;
  readonly maxSequences: number;
  readonly blockTokens: number;
  readonly hbmBytes: number;
  readonly hostBytes: number;
  readonly leaseMs: number;
  /** Null = blocks that host memory gives up are forgotten. */
  readonly storeAt: StoreAt | null;
  /** Longest time that SIGTERM waits for running requests and leases. */
  readonly drainMs: number;
  readonly costs: Partial<EngineCosts>;
  /** What a simulated engine speaks. */
  readonly dialect: Dialect;
  readonly sideChannelTimeoutMs: number;
  /** Servers that it shares with others; null = none. */
  readonly kv: KvSettings | null;
  /** Null for other engines. */
  readonly vllm: VllmFlags | null;
  /** Null for other engines. */
  readonly sglang: SglangFlags | null;
}

export type EngineArguments =
  | { readonly kind: 'run'; readonly flags: EngineFlags }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly message: string };

const TEXT = { type: 'string' } as const;
const DEFINITIONS = {
  type: TEXT,
  role: TEXT,
  instance: TEXT,
  'model-name': TEXT,
  model: TEXT,
  host: TEXT,
  port: TEXT,
  context: TEXT,
  sequences: TEXT,
  'block-tokens': TEXT,
  'hbm-bytes': TEXT,
  'host-bytes': TEXT,
  'lease-ms': TEXT,
  'drain-ms': TEXT,
  costs: TEXT,
  store: TEXT,
  dialect: TEXT,
  'side-channel-timeout-ms': TEXT,
  kv: TEXT,
  ...VLLM_DEFINITIONS,
  ...SGLANG_DEFINITIONS,
  help: { type: 'boolean', short: 'h' },
} as const satisfies Record<string, FlagDefinition>;

const COST_NAMES: Record<keyof EngineCosts, true> = {
  prefillFixed: true,
  prefillPerToken: true,
  prefillPerTokenContext: true,
  stepFixed: true,
  stepPerSequence: true,
  stepPerContextToken: true,
  pullFixed: true,
  pullPerMiB: true,
};

/** Bounds and default of each whole number. */
const NUMBERS = {
  port: { min: 0, max: 65_535, fallback: 0 },
  context: { min: 64, max: 1_048_576, fallback: 8192 },
  sequences: { min: 1, max: 4096, fallback: 16 },
  'block-tokens': { min: 1, max: 1024, fallback: 16 },
  'hbm-bytes': { min: 1024, max: 2 ** 46, fallback: 256 * 2 ** 20 },
  'host-bytes': { min: 0, max: 2 ** 46, fallback: 256 * 2 ** 20 },
  'lease-ms': { min: 1, max: 86_400_000, fallback: 30_000 },
  'drain-ms': { min: 0, max: 86_400_000, fallback: 30_000 },
  'side-channel-timeout-ms': { min: 1, max: 86_400_000, fallback: 5_000 },
  ...VLLM_NUMBERS,
} as const;

type NumberFlag = keyof typeof NUMBERS;

function wholeNumber(name: NumberFlag, text: string | null): number {
  const { min, max, fallback } = NUMBERS[name];
  if (text === null) return fallback;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new WrongFlag(`--${name} must be a whole number from ${min} to ${max}; got "${text}"`);
}

function oneOf<T extends string>(name: string, text: string | null, allowed: readonly T[]): T {
  const found = allowed.find((value) => value === text);
  if (found !== undefined) return found;
  throw new WrongFlag(`--${name} must be one of ${allowed.join(', ')}; ${text === null ? 'it is missing' : `got "${text}"`}`);
}

const NAME = /^[a-zA-Z0-9]([-a-zA-Z0-9_.:/]{0,126}[a-zA-Z0-9])?$/;

function nameOf(flag: string, text: string | null, fallback: string): string {
  const name = text ?? fallback;
  if (NAME.test(name)) return name;
  throw new WrongFlag(`--${flag} must have 1 to 128 letters, digits and -_.:/ and start and end with a letter or digit; got "${name}"`);
}

function costsOf(text: string | null, type: EngineType): Partial<EngineCosts> {
  if (text === null) return {};
  if (type !== 'sim') throw new WrongFlag('--costs is for --type sim; real engines measure their own');
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new WrongFlag(`--costs must be JSON; got "${text.slice(0, 100)}"`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new WrongFlag('--costs must be a JSON object');
  const costs: Partial<Record<keyof EngineCosts, number>> = {};
  for (const [name, value] of Object.entries(parsed)) {
    if (!isCostName(name)) throw new WrongFlag(`--costs has no "${name}"; it has ${Object.keys(COST_NAMES).join(', ')}`);
    if (typeof value !== 'number' || !(value >= 0 && value <= 3_600_000)) {
      throw new WrongFlag(`--costs.${name} must be milliseconds from 0 to 3600000; got ${JSON.stringify(value)}`);
    }
    costs[name] = value;
  }
  return costs;
}

function dialectOf(text: string | null, type: EngineType): Dialect {
  if (text !== null && type !== 'sim') throw new WrongFlag('--dialect is for --type sim; the others have only one');
  return oneOf('dialect', text ?? 'sluice', ['sluice', 'nixl', 'bootstrap']);
}

function kvOf(text: string | null): KvSettings | null {
  if (text === null) return null;
  try {
    return readKvSettings(text);
  } catch (thrown) {
    if (thrown instanceof RangeError) throw new WrongFlag(`--kv ${thrown.message}`);
    throw thrown;
  }
}

function isCostName(name: string): name is keyof EngineCosts {
  return Object.hasOwn(COST_NAMES, name);
}

function modelPathOf(text: string | null, type: EngineType): string | null {
  if (type === 'llamacpp' && text === null)
    throw new WrongFlag('--model must be the path of a GGUF file for --type llamacpp; it is missing');
  if (type === 'sim' && text !== null) throw new WrongFlag('--model is for real engines; a simulated engine runs no model');
  return type === 'llamacpp' ? text : null;
}

export function readEngineFlags(argv: readonly string[]): EngineArguments {
  const parsed = parseFlags(argv, DEFINITIONS);
  if (!parsed.ok) return { kind: 'wrong', message: parsed.message };
  const { flags } = parsed;
  if (flags.help) return { kind: 'help' };
  const number = (name: NumberFlag) => wholeNumber(name, flags[name]);
  try {
    const type = oneOf('type', flags.type, ['llamacpp', 'sim', 'vllm', 'sglang']);
    const mistake = sglangMistake(flags, type) ?? (type === 'sglang' ? null : vllmMistake(flags, type));
    if (mistake !== null) throw new WrongFlag(mistake);
    const role = oneOf('role', flags.role ?? 'mixed', ['prefill', 'decode', 'mixed']);
    const [instance, kv] = [nameOf('instance', flags.instance, `${type}-${role}`), kvOf(flags.kv)];
    if (kv !== null && instance.includes('/'))
      throw new WrongFlag(`--instance must have no / where --kv is given, whose servers do not know such names; got "${instance}"`);
    return {
      kind: 'run',
      flags: {
        type,
        role,
        instance,
        modelName: nameOf('model-name', flags['model-name'], type === 'sim' ? 'simulated' : 'tiny'),
        modelPath: modelPathOf(flags.model, type),
        host: flags.host ?? '127.0.0.1',
        port: number('port'),
        contextTokens: number('context'),
        maxSequences: number('sequences'),
        blockTokens: number('block-tokens'),
        hbmBytes: number('hbm-bytes'),
        hostBytes: number('host-bytes'),
        leaseMs: number('lease-ms'),
        drainMs: number('drain-ms'),
        costs: costsOf(flags.costs, type),
        storeAt: storeOf(flags.store, type),
        dialect: dialectOf(flags.dialect, type),
        sideChannelTimeoutMs: number('side-channel-timeout-ms'),
        kv,
        vllm: type === 'vllm' ? vllmFlagsOf(flags, number) : null,
        sglang: type === 'sglang' ? sglangFlagsOf(flags, number) : null,
      },
    };
  } catch (thrown) {
    if (thrown instanceof WrongFlag) return { kind: 'wrong', message: thrown.message };
    throw thrown;
  }
}

export const ENGINE_HELP = `Usage: sluice engine --type llamacpp|sim|vllm|sglang [flags]

Runs one engine process: OpenAI's HTTP API, vLLM's metrics, and KV hand-off to and from other instances. With --type vllm it starts
and watches a vLLM (with sglang, an SGLang), which takes the requests itself, and tells the router what that holds and how loaded it is.
\`sluice up\` and \`sluice start\` run these for you; by hand it is useful to look at one engine alone.

  --type NAME            llamacpp: a real engine on CPU; sim: a simulated one (no model; declared timings); vllm; sglang
  --role ROLE            prefill, decode or mixed (default mixed)
  --instance NAME        name in tickets, events and logs (default TYPE-ROLE)
  --model-name NAME      name that requests ask for
  --model PATH           GGUF file (llamacpp), or builtin:tiny for random weights that are written into the cache folder
  --host ADDRESS         default 127.0.0.1
  --port N               default 0: any free port
  --context N            tokens of the context window (default 8192)
  --sequences N          sequences in one batch (default 16)
  --block-tokens N       tokens of one KV block (default 16)
  --hbm-bytes N          budget for KV in the engine (default 256 MiB)
  --host-bytes N         budget for KV in host memory (default 256 MiB)
  --store JSON           where blocks go that host memory gives up: {"path":"/folder","capacityBytes":N} or
                         {"url":"redis://host:6379","space":"NAME","capacityBytes":N}; both take tenantShare and bytesPerSecond, the latter
                         ttlMs (its password is in SLUICE_STORE_PASSWORD)
  --lease-ms N           how long finished blocks wait for a peer (default 30000)
  --drain-ms N           how long SIGTERM waits for running requests and leases (default 30000)
  --costs JSON           simulated times in ms: ${Object.keys(COST_NAMES).join(', ')}
  --dialect NAME         sluice (default), or nixl: the simulated engine speaks and fails like a vLLM with its NixlConnector, or
                         bootstrap: like the prefill and decode instances of SGLang
  --side-channel-timeout-ms N  nixl: how long the first contact to another engine may take (default 5000)
  --kv JSON              Redis and NATS that are told what it holds; \`sluice up\` writes it from \`kv\` of the deployment
  --help                 this text

${VLLM_HELP}
${SGLANG_HELP}
Example: sluice engine --type sim --port 8001 --costs '{"stepFixed":10}'
`;
