/**
 * The schema of a ServingPool: the instances of one role, owned by a ServingDeployment. It is what `kubectl scale`, a
 * HorizontalPodAutoscaler and a PodDisruptionBudget talk to; the operator owns the pods behind it directly, because it drains a
 * chosen instance before it deletes it.
 */
import { z } from 'zod';
import { engine } from './blocks/engine.ts';
import { kv } from './blocks/kv.ts';
import { model } from './blocks/model.ts';
import { objectName } from './blocks/names.ts';
import { MAX_REPLICAS, placement } from './blocks/pool.ts';
import { block, oneOf, text, wholeNumber } from './fields.ts';
import { withCelRules } from './rule.ts';
import { API_VERSION } from './schema.ts';
import { conditions, generation, instances, revision } from './status.ts';

export const POOL_KIND = 'ServingPool';

const instance = block({
  revision: revision.describe('Hash of all that an instance is started with; pods carry it as a label.'),
  family: revision.describe('Hash of what must be equal for two instances to exchange KV.'),
  model: model.describe('The model that is served.'),
  engine: engine.describe('The engine that an instance runs.'),
  kv: kv.prefault({}).describe('The KV tier.'),
  ...placement,
});

/** A pool that changed its role would have the pods of another one. */
const sameRole = {
  rule: 'self == oldSelf',
  message: 'expected the role that the pool was made with: delete the pool and make one for the other role',
};

const spec = block({
  role: withCelRules(oneOf(['prefill', 'decode', 'mixed']), [sameRole]).describe(
    'What the instances do; `mixed` ones do both. Cannot be changed.',
  ),
  replicas: wholeNumber({ min: 0, max: MAX_REPLICAS, unit: 'instances' })
    .default(1)
    .describe(`Number of instances, 0 to ${MAX_REPLICAS}; what the scale sub-resource reads and writes.`),
  instance: instance.describe('What one instance is.'),
});

const status = block({
  observedGeneration: generation.optional().describe('`metadata.generation` of the spec that this status is about.'),
  replicas: instances.optional().describe('Instances that are there, those that start and drain among them.'),
  readyReplicas: instances.optional().describe('Instances that take requests.'),
  selector: text({ expected: 'a selector of labels', pattern: /^[^\p{Cc}]*$/u, max: 1_024 })
    .optional()
    .describe('Selector of the pods, as text; what the scale sub-resource tells autoscalers.'),
  conditions: conditions.optional().describe('What holds and what does not, and why.'),
});

export const servingPoolSchema = block({
  apiVersion: z.literal(API_VERSION, { error: API_VERSION }).describe('Version of the resource.'),
  kind: z.literal(POOL_KIND, { error: POOL_KIND }).describe('Kind of the resource.'),
  metadata: z.looseObject({ name: objectName.describe('Name of the pool. At most 253 characters.') }).describe('What names the resource.'),
  spec: spec.describe('What is wanted.'),
  status: status.optional().describe('What is.'),
});

export type ServingPoolStatus = z.output<typeof status>;
