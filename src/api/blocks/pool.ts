/** `prefill` and `decode`: the pools. */
import { block, mapping, text, wholeNumber } from '../fields.ts';
import { sim } from './engine.ts';
import { metadataKey } from './names.ts';
import { podOverrides } from './podoverrides.ts';

export const MAX_REPLICAS = 64;

const resourceKey = { ...metadataKey, expected: 'the name of a resource, such as cpu, memory or nvidia.com/gpu' };
const resourceValue = text({
  expected: 'a Kubernetes quantity in quotes, such as "500m", "4" or "8Gi"',
  pattern: /^\d{1,15}(?:\.\d{1,9})?(?:m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/,
  max: 32,
});
const resources = block({
  requests: mapping(resourceKey, resourceValue, 16).default({}).describe('Resources that each instance is promised, at most 16 kinds.'),
  limits: mapping(resourceKey, resourceValue, 16).default({}).describe('Resources that each instance may use at most, at most 16 kinds.'),
});

const accelerator = text({
  expected: 'the name of an NVIDIA accelerator, such as nvidia-h100',
  pattern: /^nvidia-[a-z0-9](?:[-a-z0-9]{0,30}[a-z0-9])?$/,
  max: 39,
});
const parallelism = block({
  tensor: wholeNumber({ min: 1, max: 64, unit: 'accelerators' })
    .default(1)
    .describe('Accelerators of one machine that share every layer of one instance (tensor parallelism), 1 to 64.'),
});

/** Where and how one instance of a pool runs. */
export const placement = {
  accelerator: accelerator
    .optional()
    .describe(
      'Accelerator that an instance runs on, such as `nvidia-h100`; only with `engine.type: vllm`, and needed with `sglang`. Absent: the CPU.',
    ),
  parallelism: parallelism
    .optional()
    .describe('How one instance is spread over accelerators; only with `accelerator`. Absent: it runs on one.'),
  resources: resources
    .default({ requests: {}, limits: {} })
    .describe('Compute resources per instance. Used on Kubernetes; the process platform does not enforce them.'),
  sim: sim.optional().describe('Constants of this role that differ from `engine.sim`; only with `engine.type: sim`.'),
  podOverrides: podOverrides
    .optional()
    .describe('What the pods of this role have besides what Sluice gives them. Used on Kubernetes; the process platform ignores it.'),
};

export const pool = (what: string, min: number) =>
  block({
    replicas: wholeNumber({ min, max: MAX_REPLICAS, unit: 'instances' })
      .default(1)
      .describe(`Number of ${what} instances, ${min} to ${MAX_REPLICAS}.`),
    ...placement,
  });
