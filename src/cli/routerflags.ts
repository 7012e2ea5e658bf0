/** The flags of `sluice router`, checked. Pure. */
import { DEFAULT_CONFIG, type ListenOptions, parseConfig, type RouterConfig } from '../router/index.ts';
import { SluiceError } from '../shared/index.ts';
import { type FlagDefinition, parseFlags } from './flags.ts';
import { type KvSettings, readKvSettings } from './kvservers.ts';

export interface RouterFlags {
  readonly model: string;
  readonly listen: ListenOptions;
  readonly config: RouterConfig;
  /** Servers that it shares with others; null = none. */
  readonly kv: KvSettings | null;
  /** How long SIGTERM waits for requests under way. */
  readonly graceMs: number;
}

export type RouterArguments =
  | { readonly kind: 'run'; readonly flags: RouterFlags }
  | { readonly kind: 'help' }
  | { readonly kind: 'wrong'; readonly message: string };

const TEXT = { type: 'string' } as const;
const DEFINITIONS = {
  model: TEXT,
  host: TEXT,
  port: TEXT,
  'admin-host': TEXT,
  'admin-port': TEXT,
  config: TEXT,
  kv: TEXT,
  'grace-ms': TEXT,
  help: { type: 'boolean', short: 'h' },
} as const satisfies Record<string, FlagDefinition>;

const LOOPBACK = '127.0.0.1';
const NUMBERS = {
  port: { max: 65_535, fallback: 0 },
  'admin-port': { max: 65_535, fallback: 0 },
  'grace-ms': { max: 86_400_000, fallback: 30_000 },
} as const;

/** A mistake in one flag; caught right here, where it becomes a value. */
class WrongFlag extends Error {}

export function readRouterFlags(argv: readonly string[]): RouterArguments {
  const parsed = parseFlags(argv, DEFINITIONS);
  if (!parsed.ok) return { kind: 'wrong', message: parsed.message };
  const { flags } = parsed;
  if (flags.help) return { kind: 'help' };
  const number = (name: keyof typeof NUMBERS) => wholeNumber(name, flags[name]);
  try {
    if (flags.model === null) throw new WrongFlag('--model must be the name that requests ask for; it is missing');
    const [host, adminHost] = [flags.host ?? LOOPBACK, flags['admin-host'] ?? LOOPBACK];
    const listen = { host, port: number('port'), adminHost, adminPort: number('admin-port') };
    const [config, kv] = [configOf(flags.config), kvOf(flags.kv)];
    return { kind: 'run', flags: { model: flags.model, listen, config, kv, graceMs: number('grace-ms') } };
  } catch (thrown) {
    if (thrown instanceof WrongFlag) return { kind: 'wrong', message: thrown.message };
    throw thrown;
  }
}

function wholeNumber(name: keyof typeof NUMBERS, text: string | null): number {
  const { max, fallback } = NUMBERS[name];
  if (text === null) return fallback;
  if (/^\d+$/.test(text) && Number(text) <= max) return Number(text);
  throw new WrongFlag(`--${name} must be a whole number from 0 to ${max}; got "${text}"`);
}

function configOf(text: string | null): RouterConfig {
  if (text === null) return DEFAULT_CONFIG;
  try {
    return parseConfig(text);
  } catch (thrown) {
    if (thrown instanceof SluiceError) throw new WrongFlag(`--config: ${thrown.message}`);
    throw thrown;
  }
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

export const ROUTER_HELP = `Usage: sluice router --model NAME [flags]

Runs one router: OpenAI's HTTP API in front of prefill and decode instances. Which instances there are it is told through its admin
listener (PUT /admin/instances); \`sluice up\` and \`sluice start\` do that.

  --model NAME        model that requests ask for
  --host ADDRESS      address to listen on (default 127.0.0.1); :: is every one
  --port N            default 0: any free port
  --admin-host ADDR   address of the admin listener (default 127.0.0.1); who reaches it can tell the router of instances
  --admin-port N      port of the admin listener (default 0: any free port)
  --config JSON       limits, deadlines, models, saltHeader, tracing; what is left out keeps its default:
                      ${JSON.stringify(DEFAULT_CONFIG)}
  --kv JSON           Redis and NATS by which it knows where KV is; \`sluice up\` writes it from \`kv\` of the deployment
  --grace-ms N        how long SIGTERM waits for requests under way (default 30000)
  --help              this text

Example: sluice router --model tiny --port 8080 --config '{"limits":{"queue":100}}'
`;
