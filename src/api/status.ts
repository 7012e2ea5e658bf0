/** What the operator writes into the status of its resources. */
import { z } from 'zod';
import { anyText, labelValue, printable, tierName } from './blocks/names.ts';
import { MAX_REPLICAS } from './blocks/pool.ts';
import { CONDITIONS } from './conditions.ts';
import { block, oneOf, text, wholeNumber } from './fields.ts';

/** A pool may have more instances than wanted while it rolls and drains. */
const MAX_INSTANCES = 4 * MAX_REPLICAS;
const MAX_GENERATION = Number.MAX_SAFE_INTEGER;

export const generation = wholeNumber({ min: 0, max: MAX_GENERATION });
export const instances = wholeNumber({ min: 0, max: MAX_INSTANCES, unit: 'instances' });
export const revision = labelValue;

const dateTime = text({
  expected: 'a time such as 2026-01-02T03:04:05Z',
  pattern: /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$/,
  max: 32,
}).meta({ format: 'date-time', form: { name: 'time', bounds: 'UTC' } });
export const reasonWord = text({ expected: 'CamelCase, such as InstancesStarting', pattern: /^[A-Za-z][A-Za-z0-9]*$/, max: 128 });

const condition = block({
  type: text({ expected: 'CamelCase, such as Ready', pattern: /^[A-Za-z][A-Za-z0-9]*$/, max: 64 }).describe(
    `Type of the condition: ${Object.keys(CONDITIONS).join(', ')}.`,
  ),
  status: oneOf(['True', 'False', 'Unknown']).describe('Whether the condition holds.'),
  reason: reasonWord.describe('Why, in one CamelCase word for programs.'),
  message: anyText(4_096).describe('Why, in a sentence for people.'),
  lastTransitionTime: dateTime.describe('When `status` last changed.'),
  observedGeneration: generation.optional().describe('`metadata.generation` of the resource that the condition is about.'),
});

export const conditions = z
  .array(condition, { error: 'a list of conditions' })
  .max(16, { error: 'a list of at most 16 conditions' })
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'], form: { name: 'list', bounds: 'at most 16' } });

const role = block({
  role: oneOf(['prefill', 'decode', 'mixed']).describe('What the instances do; `mixed` ones do both.'),
  desired: instances.describe('Instances that are wanted.'),
  ready: instances.describe('Instances that take requests.'),
  updated: instances.describe('Instances that were started with the present spec.'),
  draining: instances.describe('Instances that take no new requests and end when theirs are done.'),
  instances: text({ expected: 'ready/desired, such as 1/2', pattern: /^[0-9]{1,3}\/[0-9]{1,3}$/, max: 7 }).describe(
    'Ready and desired ones as `kubectl get` shows them, such as `1/2`.',
  ),
});

export const servingDeploymentStatus = block({
  observedGeneration: generation.optional().describe('`metadata.generation` of the spec that this status is about.'),
  conditions: conditions.optional().describe('What holds and what does not, and why.'),
  roles: z
    .array(role, { error: 'a list of roles' })
    .max(3, { error: 'a list of at most 3 roles' })
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['role'], form: { name: 'list', bounds: 'at most 3' } })
    .optional()
    .describe('Instances of each role that is wanted or still there: prefill, then decode, then mixed.'),
  revision: revision.optional().describe('Hash of all that instances and routers are started with; equal specs have equal revisions.'),
  kvTier: block({
    name: tierName.describe('Name of the KVTier.'),
    generation: generation.describe('`metadata.generation` of the KVTier whose servers are wanted.'),
  })
    .optional()
    .describe('KVTier that was found for `kv.tierRef`. Absent while there is none.'),
  url: printable(2_048)
    .optional()
    .describe('Where clients reach the router, such as `http://chat.default.svc:80`; OpenAI paths start at `/v1`.'),
});

export type ServingDeploymentStatus = z.output<typeof servingDeploymentStatus>;
