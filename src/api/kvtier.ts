/**
 * The schema of a KVTier: the servers of the KV tier for all deployments of a namespace that name it. Whatever it has counts for them as
 * if it stood in their own `kv`.
 */
import { z } from 'zod';
import { nats, redis } from './blocks/kvservers.ts';
import { tierStore } from './blocks/kvstore.ts';
import { anyText, deploymentName, labelValue, metadataKey, printable, tierName } from './blocks/names.ts';
import { block, mapping, oneOf, text, wholeNumber } from './fields.ts';
import { ruled } from './rule.ts';
import { API_VERSION } from './schema.ts';
import { conditions, generation, reasonWord } from './status.ts';

export const TIER_KIND = 'KVTier';

/** Users that a status names; of more it has the number. */
export const MAX_NAMED_USERS = 256;
const MAX_USERS = 100_000;

const metadata = block({
  name: tierName.describe('Name of the tier. At most 53 characters.'),
  namespace: deploymentName.default('default').describe('Namespace. Used on Kubernetes; on one machine it only keeps equal names apart.'),
  labels: mapping(metadataKey, labelValue, 64).default({}).describe('Labels, at most 64.'),
  annotations: mapping(metadataKey, anyText(16_384), 64).default({}).describe('Annotations, at most 64 of at most 16,384 characters.'),
});

const spec = block({
  redis,
  nats,
  store: tierStore
    .optional()
    .describe(
      'Where blocks go that host memory gives up, and come back from when that is faster than computing them. Deployments of vLLM and SGLang do not use it. Absent: they are forgotten.',
    ),
});

const servers = ['redis', 'nats', 'store'] as const;
const tierSpec = ruled(spec, [
  {
    field: '',
    expected: 'at least one of redis, nats and store: add one, or remove the tier and every tierRef that names it',
    cel: servers.map((name) => `has(self.${name})`).join(' || '),
    holds: (given) => servers.some((name) => given[name] !== undefined),
  },
]);

const user = block({
  name: deploymentName.describe('Name of the ServingDeployment.'),
  ready: oneOf(['True', 'False', 'Unknown']).describe(
    'Its condition KVTierReady; `Unknown` while it has not taken up the present spec of the tier on all that it runs.',
  ),
  reason: reasonWord.describe('Why, in one CamelCase word for programs.'),
});

export const kvTierStatus = block({
  observedGeneration: generation.optional().describe('`metadata.generation` of the spec that this status is about.'),
  conditions: conditions.optional().describe('What holds and what does not, and why.'),
  users: z
    .array(user, { error: 'a list of users' })
    .max(MAX_NAMED_USERS, { error: `a list of at most ${MAX_NAMED_USERS} users` })
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      form: { name: 'list', bounds: `at most ${MAX_NAMED_USERS}` },
    })
    .optional()
    .describe(`ServingDeployments that name the tier, by name, at most ${MAX_NAMED_USERS}; those that are not ready come first.`),
  userCount: wholeNumber({ min: 0, max: MAX_USERS, unit: 'deployments' }).optional().describe('ServingDeployments that name the tier.'),
  usersReady: text({ expected: 'ready/all, such as 1/2', pattern: /^[0-9]{1,6}\/[0-9]{1,6}$/, max: 13 })
    .optional()
    .describe('Users that are ready and all users as `kubectl get` shows them, such as `1/2`.'),
  parts: wholeNumber({ min: 0, max: MAX_USERS, unit: 'parts' })
    .optional()
    .describe('Parts of the store that users have; together they may take that many times `store.capacity`.'),
  store: printable(1_024).optional().describe('Where the store is, as `kubectl get` shows it.'),
});

export const kvTierSchema = block({
  apiVersion: z.literal(API_VERSION, { error: API_VERSION }).describe('Version of the resource.'),
  kind: z.literal(TIER_KIND, { error: TIER_KIND }).describe('Kind of the resource.'),
  metadata: metadata.describe('What names the resource.'),
  spec: tierSpec.describe('What is wanted.'),
});

/** A manifest that parsed, defaults filled in, durations and quantities still as text. */
export type KvTierManifest = z.output<typeof kvTierSchema>;
export type KvTierStatus = z.output<typeof kvTierStatus>;
