/** The kinds of resources of our group, and what `kubectl` needs to know of each. */
import type { z } from 'zod';
import { kvTierSchema, kvTierStatus, TIER_KIND } from '../kvtier.ts';
import { type Refusal, refusals } from '../ownarguments.ts';
import { PINNED_KIND, pinnedContextSchema, pinnedContextStatus } from '../pinnedcontext.ts';
import { KIND, servingDeploymentSchema } from '../schema.ts';
import { POOL_KIND, servingPoolSchema } from '../servingpool.ts';
import { servingDeploymentStatus } from '../status.ts';

export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly description: string;
  readonly jsonPath: string;
  /** 1 = only with `-o wide`. */
  readonly priority?: 1;
}

export interface Scale {
  readonly specReplicasPath: string;
  readonly statusReplicasPath: string;
  readonly labelSelectorPath: string;
}

export interface Kind {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortName: string;
  /** One or two sentences. */
  readonly description: string;
  readonly metadata: z.ZodObject;
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  readonly columns: readonly PrinterColumn[];
  readonly scale?: Scale;
  /** Arguments that rules refuse, for the reference. */
  readonly refusals?: readonly Refusal[];
  /** A manifest for the reference. */
  readonly example?: string;
}

const ready = '.status.conditions[?(@.type=="Ready")]';
const READY: PrinterColumn = { name: 'Ready', type: 'string', description: 'Condition Ready.', jsonPath: `${ready}.status` };
const REASON: PrinterColumn = { name: 'Reason', type: 'string', description: 'Why.', jsonPath: `${ready}.reason`, priority: 1 };
const AGE: PrinterColumn = { name: 'Age', type: 'date', description: 'Since it was made.', jsonPath: '.metadata.creationTimestamp' };

const EXAMPLE = `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: { name: chat }
spec:
  model: { name: qwen, source: Qwen/Qwen3-8B }
  engine: { type: vllm, image: registry.example.com/team/vllm:1, contextTokens: 32768 }
  slo: { ttft: { p95: 500ms }, tpot: { p95: 40ms } }
  prefill:
    replicas: 2
    accelerator: nvidia-h100
    resources: { limits: { nvidia.com/gpu: "1" } }
  decode:
    replicas: 3
    accelerator: nvidia-h100
    resources: { limits: { nvidia.com/gpu: "1" } }
    podOverrides:
      tolerations: [{ key: nvidia.com/gpu, operator: Exists }]
  kv: { hbm: { capacity: 40Gi } }
  router: { replicas: 2, service: { type: ClusterIP, port: 80 } }
`;

const servingDeployment: Kind = {
  kind: KIND,
  plural: 'servingdeployments',
  singular: 'servingdeployment',
  shortName: 'sd',
  description: 'A model that is served by a prefill pool and a decode pool (or by one pool that does both) behind a router.',
  metadata: servingDeploymentSchema.shape.metadata,
  spec: servingDeploymentSchema.shape.spec,
  status: servingDeploymentStatus,
  columns: [
    { name: 'Model', type: 'string', description: 'Name of the model that is served.', jsonPath: '.spec.model.name' },
    {
      name: 'Prefill',
      type: 'string',
      description: 'Ready and desired instances that prefill only.',
      jsonPath: '.status.roles[?(@.role=="prefill")].instances',
    },
    {
      name: 'Decode',
      type: 'string',
      description: 'Ready and desired instances that decode.',
      jsonPath: '.status.roles[?(@.role!="prefill")].instances',
    },
    READY,
    { name: 'URL', type: 'string', description: 'Where clients reach the router.', jsonPath: '.status.url' },
    REASON,
    { name: 'Revision', type: 'string', description: 'Revision that is wanted.', jsonPath: '.status.revision', priority: 1 },
    AGE,
  ],
  refusals,
  example: EXAMPLE,
};

const servingPool: Kind = {
  kind: POOL_KIND,
  plural: 'servingpools',
  singular: 'servingpool',
  shortName: 'sp',
  description:
    'The instances of one role of a ServingDeployment, which owns it. `kubectl scale`, autoscalers and PodDisruptionBudgets use it.',
  metadata: servingPoolSchema.shape.metadata,
  spec: servingPoolSchema.shape.spec,
  status: servingPoolSchema.shape.status.unwrap(),
  columns: [
    { name: 'Role', type: 'string', description: 'What the instances do.', jsonPath: '.spec.role' },
    { name: 'Desired', type: 'integer', description: 'Instances that are wanted.', jsonPath: '.spec.replicas' },
    { name: 'Ready', type: 'integer', description: 'Instances that take requests.', jsonPath: '.status.readyReplicas' },
    { name: 'Revision', type: 'string', description: 'Revision that is wanted.', jsonPath: '.spec.instance.revision', priority: 1 },
    AGE,
  ],
  scale: {
    specReplicasPath: '.spec.replicas',
    statusReplicasPath: '.status.replicas',
    labelSelectorPath: '.status.selector',
  },
};

const TIER_EXAMPLE = `apiVersion: serving.sluice.dev/v1alpha1
kind: KVTier
metadata: { name: shared }
spec:
  redis: { urls: [redis://redis.kv.svc:6379], credentials: { secret: kv-redis } }
  nats: { urls: [nats://nats.kv.svc:4222] }
  store: { redis: { url: redis://redis.kv.svc:6379/1 }, scope: Model, capacity: 100Gi, tenantShare: 0.5 }
---
apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: { name: batch }
spec:
  model: { name: qwen, source: /models/qwen.gguf }
  engine: { type: llamacpp }
  decode: { replicas: 2 }
  kv: { tierRef: { name: shared } }
`;

const kvTier: Kind = {
  kind: TIER_KIND,
  plural: 'kvtiers',
  singular: 'kvtier',
  shortName: 'kvt',
  description:
    'The servers of the KV tier for all ServingDeployments of a namespace that name it in `kv.tierRef`: Redis, NATS and a store, at least one of the three, with where their secrets are, and how much they may take.',
  metadata: kvTierSchema.shape.metadata,
  spec: kvTierSchema.shape.spec,
  status: kvTierStatus,
  columns: [
    { name: 'Redis', type: 'string', description: 'First address of the Redis of the directory.', jsonPath: '.spec.redis.urls[0]' },
    { name: 'NATS', type: 'string', description: 'First address of NATS.', jsonPath: '.spec.nats.urls[0]' },
    { name: 'Store', type: 'string', description: 'Where the store is.', jsonPath: '.status.store' },
    { name: 'Users', type: 'string', description: 'Ready and all ServingDeployments that name it.', jsonPath: '.status.usersReady' },
    READY,
    REASON,
    AGE,
  ],
  example: TIER_EXAMPLE,
};

const PINNED_EXAMPLE = `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: { name: chat }
spec:
  model: { name: qwen, source: /models/qwen.gguf }
  engine: { type: llamacpp }
  decode: { replicas: 4 }
---
apiVersion: serving.sluice.dev/v1alpha1
kind: PinnedContext
metadata: { name: handbook }
spec:
  deploymentRef: { name: chat }
  replicas: 2
  messages:
    - role: system
      content: You answer questions about the handbook of the company, which follows.
`;

const pinned: Kind = {
  kind: PINNED_KIND,
  plural: 'pinnedcontexts',
  singular: 'pinnedcontext',
  // Not pc: that is a PriorityClass to kubectl.
  shortName: 'pctx',
  description:
    'A beginning that many requests have, a document or a system prompt, whose KV stays with instances of a ServingDeployment, in host memory or in the store, whatever else wants the room.',
  metadata: pinnedContextSchema.shape.metadata,
  spec: pinnedContextSchema.shape.spec,
  status: pinnedContextStatus,
  columns: [
    { name: 'Deployment', type: 'string', description: 'ServingDeployment that holds it.', jsonPath: '.spec.deploymentRef.name' },
    { name: 'Tier', type: 'string', description: 'Where it stays.', jsonPath: '.spec.tier', priority: 1 },
    { name: 'Resident', type: 'string', description: 'Instances that hold it, and that are to.', jsonPath: '.status.resident' },
    { name: 'Tokens', type: 'integer', description: 'Its tokens.', jsonPath: '.status.tokens' },
    { name: 'Bytes', type: 'integer', description: 'What it takes on all holders together.', jsonPath: '.status.bytes' },
    { name: 'Share', type: 'string', description: 'Largest share of the tier on one instance.', jsonPath: '.status.share' },
    READY,
    REASON,
    AGE,
  ],
  example: PINNED_EXAMPLE,
};

export const KINDS: readonly Kind[] = [servingDeployment, servingPool, kvTier, pinned];
