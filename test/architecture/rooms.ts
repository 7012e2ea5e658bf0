/** The rooms of `src/` and what each may use. DESIGN, section 5; a change here is a change of the design. */
export interface Room {
  /** Rooms whose face it may import. */
  readonly rooms: readonly string[];
  /** Packages from outside it may import. Node's own modules are free. */
  readonly packages: readonly string[];
  /** Packages that only one folder of it, named from the room on, may import. */
  readonly inside?: Readonly<Record<string, readonly string[]>>;
}

const EVERY_PACKAGE = ['*'];

export const ROOMS: Readonly<Record<string, Room>> = {
  shared: { rooms: [], packages: [] },
  api: { rooms: ['shared'], packages: ['zod', 'yaml'] },
  telemetry: { rooms: ['shared'], packages: ['pino', 'prom-client'] },
  workload: { rooms: ['shared'], packages: [] },
  planner: { rooms: ['api', 'shared', 'workload'], packages: [] },
  autoscaler: { rooms: ['api', 'shared', 'planner'], packages: [] },
  kv: {
    rooms: ['api', 'shared', 'telemetry'],
    packages: ['@node-rs/crc32'],
    inside: { 'directory/redis': ['ioredis'], 'events/nats': ['nats'] },
  },
  engines: {
    rooms: ['api', 'shared', 'telemetry', 'kv'],
    packages: ['koffi', '@huggingface/jinja', '@huggingface/tokenizers', '@node-llama-cpp/linux-x64', 'zeromq', 'zod'],
  },
  router: { rooms: ['api', 'shared', 'telemetry', 'planner', 'kv', 'engines'], packages: ['express', 'zod'] },
  controller: { rooms: ['api', 'shared', 'telemetry', 'planner', 'autoscaler', 'platform'], packages: [] },
  platform: { rooms: ['api', 'shared', 'telemetry'], packages: [], inside: { kubernetes: ['@kubernetes/client-node'] } },
  cli: {
    rooms: ['api', 'autoscaler', 'controller', 'engines', 'kv', 'planner', 'platform', 'router', 'shared', 'telemetry', 'workload'],
    packages: EVERY_PACKAGE,
  },
};

/** Test files may use these besides what their room may. */
export const TEST_PACKAGES = ['vitest', 'fast-check', 'openai', '@msgpack/msgpack'];

/**
 * Files of a room that others may import. Engines have one face per engine too, so that only the one that runs is loaded; what is there
 * before vLLM runs, its model and its installation, is used without what running it loads. What talks to Kubernetes is not loaded where
 * instances are processes, nor the library for schemas or the one for metrics where none is read or kept, nor what talks to Redis or NATS
 * where there is none.
 */
export const FACES: readonly RegExp[] = [
  /^[a-z]+\/index\.ts$/,
  /^engines\/[a-z]+\/index\.ts$/,
  /^api\/facts\/index\.ts$/,
  /^telemetry\/(?:metrics|traces)\/index\.ts$/,
  /^platform\/kubernetes\/index\.ts$/,
  /^controller\/operator\/index\.ts$/,
  /^kv\/directory\/redis\/index\.ts$/,
  /^kv\/events\/nats\/index\.ts$/,
  /^kv\/store\/redis\/index\.ts$/,
  /^engines\/vllm\/(?:install|model|view)\/index\.ts$/,
  /^engines\/sglang\/view\/index\.ts$/,
];

/** The only room that may read the command line and the environment. */
export const COMPOSITION_ROOT = 'cli';

/** Deciding files: values in, a value out. A pattern that matches no file is an error, so that a renamed file does not slip out. */
export const DECIDING: readonly RegExp[] = [
  /^api\/(checks|conditions|difference|enginechecks|ownarguments|refused|normalise|fields|issue|resource|rule|suggestion|tier|units)\.ts$/,
  /^api\/(blocks|crd)\/.*\.ts$/,
  /^shared\/backoff\.ts$/,
  /^kv\/identity\/.*\.ts$/,
  /^kv\/directory\/redis\/(failure|replies|server|settings)\.ts$/,
  /^kv\/directory\/shared\/bounds\.ts$/,
  /^kv\/events\/(codec|names)\.ts$/,
  /^kv\/events\/nats\/(failure|settings)\.ts$/,
  /^kv\/migration\/(holder|machine)\.ts$/,
  /^controller\/[a-z]+\/(changes|held|plan|status|resourcestatus|desired|kvservers|leaving|routing|starting|store|world)\.ts$/,
  /^controller\/operator\/(change|drafts|happenings|networkpolicies|report|revisions|scale|tiers|wanted)\.ts$/,
  /^cli\/rollout\/(patch|tell|verdict)\.ts$/,
  /^kv\/policy\/choice\.ts$/,
  /^kv\/store\/(?:folder\/catalog|group|runs)\.ts$/,
  /^engines\/(?:costs\/formulas|llamacpp\/sampling)\.ts$/,
  /^engines\/agent\/(events\/(decode|frames|msgpack|naming)|metrics\/parse|reason)\.ts$/,
  /^engines\/vllm\/metrics\/(costs|fit|scrape|view)\.ts$/,
  /^engines\/(?:vllm|sglang)\/(command|checks)\.ts$/,
  /^engines\/openai\/beginning\.ts$/,
  /^engines\/agent\/overrides\.ts$/,
  /^engines\/sglang\/metrics\/(page|scrape|view)\.ts$/,
  /^platform\/(command|lastwords)\.ts$/,
  /^platform\/kubernetes\/(failure|labels|object|retry)\.ts$/,
  /^platform\/kubernetes\/pods\/(container|ownership|read|render|trouble)\.ts$/,
  /^platform\/kubernetes\/(lease\/verdict|queue\/pace|watch\/event)\.ts$/,
  /^router\/dispatch\/nixl\/(bodies|lease)\.ts$/,
  /^router\/dispatch\/openai\/(bodies|patience|salt|template|usage)\.ts$/,
  /^router\/dispatch\/(bootstrap\/answer|dialects\/alone)\.ts$/,
  /^router\/dispatch\/patience\.ts$/,
  /^router\/edge\/trace\.ts$/,
  /^router\/placement\/.*\.ts$/,
  /^router\/traces\/.*\.ts$/,
  /^telemetry\/traces\/(otlp|span)\.ts$/,
];

export const MAX_LINES = 400;

/** Names that say nothing about what is inside. */
export const EMPTY_NAMES = ['utils', 'util', 'helpers', 'helper', 'common', 'core', 'manager', 'base', 'misc', 'v2'];
