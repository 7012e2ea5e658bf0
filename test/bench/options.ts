import { parseArgs } from 'node:util';

export const BENCHES = ['router', 'handoff', 'disagg'] as const;
export type BenchName = (typeof BENCHES)[number];

export const BASELINES = ['nginx', 'vllmRouter', 'smg'] as const;
export type Baseline = (typeof BASELINES)[number];

export interface BenchOptions {
  readonly bench: BenchName;
  /** File for the JSON result, or null. */
  readonly json: string | null;
  /** Repeats; every ratio is taken within one repeat. */
  readonly runs: number;
  /** Seconds of load per measurement; null = the bench's own default. */
  readonly seconds: number | null;
  readonly against: readonly Baseline[];
  /** Folder for a CPU profile of our router, or null. Profiling costs time: do not quote such a run. */
  readonly profile: string | null;
  /** Gives the router, the engines and the load generator cores of their own. */
  readonly pinned: boolean;
}

export type Parsed =
  | { readonly kind: 'options'; readonly options: BenchOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'error'; readonly message: string };

export const HELP = `npm run bench -- <router|handoff|disagg> [options]

  router    the router against a direct connection, nginx, vllm-router and smg on the same simulated engines:
            CPU per request and per streamed token, added latency, requests per second
  handoff   KV hand-off of 512, 2,048 and 8,192 tokens between two real llama.cpp engines:
            against memcpy, a plain socket copy and recomputing the prompt
  disagg    1 prefill + 1 decode instance against two mixed ones, same load: TTFT, TPOT, SLO attainment

  --json FILE       write the result as JSON
  --runs N          repeats, 1 to 100 (default 5); spread is over repeats
  --seconds S       load per measurement, 0.2 to 600 (default: router 2, disagg 20; handoff has none)
  --against LIST    router only: baselines out of nginx,vllmRouter,smg (default all that can be had)
  --profile FOLDER  router only: also write a V8 CPU profile of our router there (slows it: for tuning only)
  --unpinned        router only: let the scheduler place everything, instead of one core for the router
  --help            this text

Every ratio is ours divided by the baseline's, both measured in the same repeat on the same machine, order rotating.
Baselines are installed into the cache folder on first use; one that can not be had is left out and the reason printed.`;

export function parseOptions(argv: readonly string[]): Parsed {
  let values: Record<string, string | boolean | undefined>;
  let positionals: string[];
  try {
    ({ values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        json: { type: 'string' },
        runs: { type: 'string' },
        seconds: { type: 'string' },
        against: { type: 'string' },
        profile: { type: 'string' },
        unpinned: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }));
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error));
  }
  if (values['help'] === true) return { kind: 'help' };
  const [name, ...rest] = positionals;
  if (name === undefined) return failed('no bench named');
  if (!isBench(name)) return failed(`unknown bench '${name}'`);
  if (rest.length > 0) return failed(`one bench at a time, but '${rest.join(' ')}' follows '${name}'`);
  const runs = parseNumber('--runs', values['runs'], { low: 1, high: 100, whole: true });
  if (typeof runs === 'string') return failed(runs);
  const seconds = parseNumber('--seconds', values['seconds'], { low: 0.2, high: 600, whole: false });
  if (typeof seconds === 'string') return failed(seconds);
  const against = parseBaselines(values['against']);
  if (typeof against === 'string') return failed(against);
  for (const flag of ['against', 'profile', 'unpinned']) {
    if (name !== 'router' && values[flag] !== undefined) return failed(`--${flag} belongs to the router bench, not to ${name}`);
  }
  const json = parsePath('--json', values['json']);
  const profile = parsePath('--profile', values['profile']);
  if ('message' in json) return failed(json.message);
  if ('message' in profile) return failed(profile.message);
  const pinned = values['unpinned'] !== true;
  return { kind: 'options', options: { bench: name, json: json.path, runs: runs ?? 5, seconds, against, profile: profile.path, pinned } };
}

function failed(reason: string): Parsed {
  return { kind: 'error', message: `${reason}; expected one of ${BENCHES.join(', ')} and the options of --help` };
}

function isBench(name: string): name is BenchName {
  return BENCHES.some((bench) => bench === name);
}

interface Bounds {
  readonly low: number;
  readonly high: number;
  readonly whole: boolean;
}

function parseNumber(flag: string, text: string | boolean | undefined, bounds: Bounds): number | null | string {
  if (text === undefined) return null;
  const value = typeof text === 'string' && text.trim() !== '' ? Number(text) : Number.NaN;
  const fits = value >= bounds.low && value <= bounds.high && (!bounds.whole || Number.isInteger(value));
  return fits
    ? value
    : `${flag} is '${text}', expected ${bounds.whole ? 'a whole number' : 'a number'} from ${bounds.low} to ${bounds.high}`;
}

function parseBaselines(text: string | boolean | undefined): readonly Baseline[] | string {
  if (text === undefined) return BASELINES;
  const chosen: Baseline[] = [];
  for (const name of String(text).split(',')) {
    const baseline = BASELINES.find((known) => known === name);
    if (!baseline) return `--against names '${name}', expected a list out of ${BASELINES.join(',')}`;
    if (!chosen.includes(baseline)) chosen.push(baseline);
  }
  return chosen;
}

function parsePath(flag: string, text: string | boolean | undefined): { path: string | null } | { message: string } {
  if (text === undefined) return { path: null };
  return typeof text === 'string' && text !== '' ? { path: text } : { message: `${flag} is empty, expected a path` };
}
