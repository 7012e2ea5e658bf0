/**
 * The schema of a ServingDeployment as it is written in YAML: the only source of fields, defaults, bounds and descriptions.
 * It parses and fills defaults but converts nothing; `normalise.ts` turns the result into the domain type.
 */
import { z } from 'zod';
import { crossCheck } from './checks.ts';
import { block, decimalNumber, duration, mapping, oneOf, quantity, text, wholeNumber } from './fields.ts';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const MIB = 2 ** 20;
const TIB = 2 ** 40;

const dnsLabel = text(
  'a name of at most 53 lower-case letters, digits and "-", starting and ending with a letter or digit',
  /^[a-z0-9](?:[-a-z0-9]{0,51}[a-z0-9])?$/,
);
const metadataKey = {
  expected: 'a key of the form [prefix/]name, each part letters, digits, "-", "_" and ".", the name at most 63 characters',
  pattern: /^(?:[a-z0-9][-a-z0-9.]{0,252}\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/,
};
const labelValue = text(
  'a label value of at most 63 letters, digits, "-", "_" and "." in quotes',
  /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/,
);
const printable = (max: number) =>
  text(`text of 1 to ${max} characters without control characters`, new RegExp(`^[^\\p{Cc}]{1,${max}}$`, 'u'));
const anyText = (max: number) => text(`text of at most ${max} characters without NUL`, new RegExp(`^[^\\0]{0,${max}}$`, 'su'));

const metadata = block({
  name: dnsLabel.describe('Name of the deployment; prefixes the names of all its instances. At most 53 characters.'),
  namespace: dnsLabel.default('default').describe('Namespace. Used on Kubernetes; on one machine it only keeps equal names apart.'),
  labels: mapping(metadataKey, labelValue, 64).default({}).describe('Labels, at most 64.'),
  annotations: mapping(metadataKey, anyText(16_384), 64).default({}).describe('Annotations, at most 64 of at most 16,384 characters.'),
});

const model = block({
  name: printable(256).describe('Name under which clients ask for the model (`model` of an OpenAI request). 1 to 256 characters.'),
  source: printable(4_096)
    .default('builtin:tiny')
    .describe(
      'Where the weights are: `builtin:tiny` (random weights that Sluice writes itself, 6 to 11 MB); with llamacpp else the path of a GGUF file, with vllm a folder that starts with `/`, `./` or `../`, or a name of the Hugging Face hub such as `org/name`. A simulated engine ignores it. 1 to 4,096 characters.',
    ),
  revision: printable(128)
    .default('main')
    .describe(
      'Version of the weights; of a model of the hub its branch, tag or commit. KV is never shared between revisions. 1 to 128 characters.',
    ),
});

const cost = (what: string, unit: string, max: number) =>
  decimalNumber({ min: 0, max, unit }).optional().describe(`${what}, in ${unit}, 0 to ${max}. Default 0.`);
const costs = block({
  prefillFixed: cost('Fixed cost of a prefill', 'ms', 60_000),
  prefillPerToken: cost('Prefill per uncached token', 'ms per token', 1_000),
  prefillPerTokenContext: cost('Prefill per uncached token and token of context before it (attention)', 'ms per token²', 1),
  stepFixed: cost('Fixed cost of a decode step', 'ms', 60_000),
  stepPerSequence: cost('Decode step per running sequence', 'ms per sequence', 1_000),
  stepPerContextToken: cost('Decode step per token of context over all sequences', 'ms per token', 1),
  pullFixed: cost('Fixed cost of pulling KV from a peer', 'ms', 60_000),
  pullPerMiB: cost('Pulling KV per MiB', 'ms per MiB', 10_000),
});
const sim = block({
  costs: costs.describe('Declared timing constants. Constants that are left out are 0; `{}` makes an engine that answers at once.'),
});

const engine = block({
  type: oneOf(['llamacpp', 'sim', 'vllm']).describe(
    '`llamacpp` runs the model on the CPU, built in; `vllm` runs it with vLLM, on the CPU or on accelerators; `sim` runs none and follows declared timings.',
  ),
  dtype: oneOf(['auto', 'bfloat16', 'float16', 'float32'])
    .optional()
    .describe(
      'Number format of weights and KV; only with `type: vllm`. Absent or `auto`: as the model says. With float32, greedy answers do not depend on what else is in the batch.',
    ),
  args: z
    .array(printable(1_024), { error: 'a list of texts' })
    .max(64, { error: 'a list of at most 64 texts' })
    .default([])
    .describe(
      'More arguments of the engine process (with vllm those of `vllm serve`), at most 64 of at most 1,024 characters. Flags that Sluice sets itself are refused.',
    ),
  env: mapping(
    {
      expected: 'the name of an environment variable: letters, digits and "_", not starting with a digit',
      pattern: /^[A-Za-z_][A-Za-z0-9_]{0,255}$/,
    },
    anyText(32_768),
    128,
  )
    .default({})
    .describe('Environment variables added to the engine process, at most 128.'),
  contextTokens: wholeNumber({ min: 256, max: 131_072, unit: 'tokens' })
    .default(8_192)
    .describe('Longest prompt plus output of one request, in tokens, 256 to 131,072.'),
  maxSequences: wholeNumber({ min: 1, max: 256, unit: 'sequences' })
    .default(16)
    .describe('Requests that one instance decodes at the same time, 1 to 256.'),
  sim: sim.optional().describe('Settings of the simulated engine; only with `type: sim`.'),
});

const percentiles = (what: string) => {
  const target = (share: string) =>
    duration({ min: 1, max: HOUR }).optional().describe(`${what} that ${share} of requests stay within, as a duration, 1ms to 1h.`);
  return block({ p50: target('half'), p95: target('95 %'), p99: target('99 %') });
};
const slo = block({
  ttft: percentiles('Time to first token').optional().describe('Targets for the time to first token.'),
  tpot: percentiles('Time per output token').optional().describe('Targets for the time per output token.'),
  attainment: decimalNumber({ min: 0, max: 1, unit: 'share of requests' })
    .default(0.99)
    .describe('Share of requests that must meet all targets, 0 to 1.'),
});

const resourceKey = { expected: 'the name of a resource, such as cpu, memory or nvidia.com/gpu', pattern: metadataKey.pattern };
const resourceValue = text(
  'a Kubernetes quantity in quotes, such as "500m", "4" or "8Gi"',
  /^\d{1,15}(?:\.\d{1,9})?(?:m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/,
);
const resources = block({
  requests: mapping(resourceKey, resourceValue, 16).default({}).describe('Resources that each instance is promised, at most 16 kinds.'),
  limits: mapping(resourceKey, resourceValue, 16).default({}).describe('Resources that each instance may use at most, at most 16 kinds.'),
});

const accelerator = text('the name of an NVIDIA accelerator, such as nvidia-h100', /^nvidia-[a-z0-9](?:[-a-z0-9]{0,30}[a-z0-9])?$/);
const parallelism = block({
  tensor: wholeNumber({ min: 1, max: 64, unit: 'accelerators' })
    .default(1)
    .describe('Accelerators of one machine that share every layer of one instance (tensor parallelism), 1 to 64.'),
});

const role = (what: string, min: number) =>
  block({
    replicas: wholeNumber({ min, max: 64, unit: 'instances' }).default(1).describe(`Number of ${what} instances, ${min} to 64.`),
    accelerator: accelerator
      .optional()
      .describe('Accelerator that an instance runs on, such as `nvidia-h100`; only with `engine.type: vllm`. Absent: the CPU.'),
    parallelism: parallelism
      .optional()
      .describe('How one instance is spread over accelerators; only with `accelerator`. Absent: it runs on one.'),
    resources: resources
      .default({ requests: {}, limits: {} })
      .describe('Compute resources per instance. Used on Kubernetes; the process platform does not enforce them.'),
    sim: sim.optional().describe('Constants of this role that differ from `engine.sim`; only with `engine.type: sim`.'),
  });

const kv = block({
  blockTokens: z
    .literal([8, 16, 32, 64], { error: 'one of 8, 16, 32, 64 (tokens)' })
    .optional()
    .describe(
      'Tokens per KV block: 8, 16, 32 or 64; vLLM wants 32 or 64 on the CPU, and no 8 on accelerators. Smaller blocks reuse more, larger ones cost less to name and move. Absent: 16, and 32 with vLLM on the CPU.',
    ),
  hbm: block({ capacity: quantity({ min: MIB, max: TIB }).default('256Mi').describe('Bytes per instance, 1Mi to 1Ti.') })
    .default({ capacity: '256Mi' })
    .describe(
      "KV memory of the engine itself (the accelerator's memory; on the CPU what its context may take). With `parallelism.tensor` per accelerator.",
    ),
  host: block({ capacity: quantity({ min: MIB, max: TIB }).default('256Mi').describe('Bytes per instance, 1Mi to 1Ti.') })
    .default({ capacity: '256Mi' })
    .describe(
      'Host memory for blocks evicted from the engine and for blocks kept for a hand-off. vLLM keeps both in its own KV memory and does not use it.',
    ),
  lease: duration({ min: SECOND, max: HOUR })
    .default('30s')
    .describe('How long a prefill instance keeps the blocks of a hand-off that nobody acknowledges, as a duration, 1s to 1h.'),
});

const count = (what: string, min: number) => wholeNumber({ min, max: 1_000_000, unit: 'requests' }).describe(what);
const limits = block({
  inFlight: count('Requests served at one time, 1 to 1,000,000.', 1).default(2_048),
  queue: count('Requests that may wait beyond those; more are refused with 429. 0 to 1,000,000.', 0).default(1_024),
  queueTimeout: duration({ min: 10, max: HOUR })
    .default('10s')
    .describe('Longest wait in that queue, as a duration, 10ms to 1h; then 503.'),
  bodyBytes: quantity({ min: 1_024, max: 1_024 * MIB })
    .default('10Mi')
    .describe('Largest request body, 1Ki to 1Gi; larger ones are refused with 413.'),
});
const stage = (what: string, value: string) =>
  duration({ min: 10, max: 24 * HOUR })
    .default(value)
    .describe(`${what}, as a duration, 10ms to 24h.`);
const deadlines = block({
  prefill: stage('Longest prefill leg', '30s'),
  pull: stage('Longest pull of KV by a decode instance; what is missing then is recomputed', '5s'),
  firstToken: stage('Longest time from the start of the decode leg to its first token', '60s'),
  idle: stage('Longest pause between two tokens', '30s'),
  total: stage('Longest life of a request', '10m'),
});
const router = block({
  host: text('an IP address or host name to listen on', /^[A-Za-z0-9][-A-Za-z0-9.]{0,252}$|^[0-9A-Fa-f:.]{2,45}$/)
    .default('127.0.0.1')
    .describe('Address that the router listens on. `0.0.0.0` makes it reachable from other machines.'),
  port: wholeNumber({ min: 0, max: 65_535 })
    .default(0)
    .describe('Port that the router listens on, 0 to 65,535; 0 takes any free one and prints it.'),
  limits: limits.prefault({}).describe('Bounds of what the router takes on.'),
  deadlines: deadlines.prefault({}).describe('Longest time per stage of a request.'),
  saltHeader: text('the name of an HTTP header, such as x-tenant-id', /^(?!x-sluice-)[A-Za-z0-9][-A-Za-z0-9]{0,63}$/i)
    .optional()
    .describe(
      'Request header whose value separates tenants: KV is only reused between requests with the same value. Absent: shared by all.',
    ),
});

const spec = block({
  model: model.describe('The model that is served.'),
  engine: engine.describe('The engine that all instances run.'),
  slo: slo.optional().describe('Service level objectives.'),
  prefill: role('prefill', 0).optional().describe('The prefill pool. Absent: the decode pool does both.'),
  decode: role('decode', 1).describe('The decode pool.'),
  kv: kv.prefault({}).describe('The KV tier.'),
  router: router.prefault({}).describe('The router in front of the pools.'),
});

export const API_VERSION = 'serving.sluice.dev/v1alpha1';
export const KIND = 'ServingDeployment';

export const servingDeploymentSchema = block({
  apiVersion: z.literal(API_VERSION, { error: API_VERSION }).describe('Version of the resource.'),
  kind: z.literal(KIND, { error: KIND }).describe('Kind of the resource.'),
  metadata: metadata.describe('What names the resource.'),
  spec: spec.superRefine(crossCheck).describe('What is wanted.'),
});

/** A manifest that parsed, defaults filled in, durations and quantities still as text. */
export type ServingDeploymentManifest = z.output<typeof servingDeploymentSchema>;
