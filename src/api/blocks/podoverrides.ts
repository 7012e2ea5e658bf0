/**
 * `podOverrides`: what clusters ask of pods and Sluice does not decide. Curated on purpose: no pod schema is inlined, so that the
 * resource stays small and nothing in it can contradict what Sluice gives its pods.
 */
import { z } from 'zod';
import { block, mapping, oneOf, text, wholeNumber } from '../fields.ts';
import { type Rule, ruled } from '../rule.ts';
import { anyText, labelValue, metadataKey, objectName } from './names.ts';

/** Keys by which Sluice finds its own objects. */
const OWN_PREFIXES = ['serving.sluice.dev/', 'app.kubernetes.io/'];

const foreignKeys: Rule<Readonly<Record<string, string>>> = {
  field: '',
  expected: `no key that starts with ${OWN_PREFIXES.join(' or ')}, by which Sluice finds its own objects: take another prefix`,
  cel: `self.all(key, ${OWN_PREFIXES.map((prefix) => `!key.startsWith('${prefix}')`).join(' && ')})`,
  holds: (entries) => Object.keys(entries).every((key) => !OWN_PREFIXES.some((prefix) => key.startsWith(prefix))),
};

const tolerationFields = block({
  key: text(metadataKey).optional().describe('Key of the taint that is tolerated. Absent: every key, with `operator: Exists`.'),
  operator: oneOf(['Equal', 'Exists'])
    .default('Equal')
    .describe('`Equal` tolerates the taint with this `value`, `Exists` one with any value.'),
  value: labelValue.optional().describe('Value of the taint; only with `operator: Equal`. At most 63 characters.'),
  effect: oneOf(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional().describe('Effect that is tolerated. Absent: every effect.'),
  tolerationSeconds: wholeNumber({ min: 0, max: 86_400, unit: 's' })
    .optional()
    .describe('How long a pod stays on a node with the taint, in seconds, 0 to 86,400; only with `effect: NoExecute`. Absent: for ever.'),
});

const tolerationRules: readonly Rule<z.output<typeof tolerationFields>>[] = [
  {
    field: 'operator',
    expected: 'Exists without a key: set it, or name the key of the taint',
    cel: "has(self.key) || self.operator == 'Exists'",
    holds: ({ key, operator }) => key !== undefined || operator === 'Exists',
  },
  {
    field: 'value',
    expected: 'no value with operator Exists: remove it, or set operator to Equal',
    cel: "!has(self.value) || self.operator == 'Equal'",
    holds: ({ value, operator }) => value === undefined || operator === 'Equal',
  },
  {
    field: 'tolerationSeconds',
    expected: 'no tolerationSeconds without effect NoExecute: remove it, or set that effect',
    cel: "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
    holds: ({ tolerationSeconds, effect }) => tolerationSeconds === undefined || effect === 'NoExecute',
  },
];

const MAX_SECRETS = 8;
const secret = block({ name: objectName.describe('Name of a Secret in the same namespace. At most 253 characters.') });
const imagePullSecrets = z
  .array(secret, { error: 'a list of {name: …}' })
  .max(MAX_SECRETS, { error: `a list of at most ${MAX_SECRETS} secrets` })
  .superRefine((secrets, context) => {
    const names = secrets.map(({ name }) => name);
    for (const [index, name] of names.entries()) {
      if (names.indexOf(name) < index) context.addIssue({ code: 'custom', path: [index], message: 'every secret once: remove this one' });
    }
  })
  .meta({
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
    form: { name: 'list', bounds: `at most ${MAX_SECRETS}` },
  });

const MAX_TOLERATIONS = 16;
const tolerations = z
  .array(ruled(tolerationFields, tolerationRules), { error: 'a list of tolerations' })
  .max(MAX_TOLERATIONS, { error: `a list of at most ${MAX_TOLERATIONS} tolerations` })
  .meta({ 'x-kubernetes-list-type': 'atomic', form: { name: 'list', bounds: `at most ${MAX_TOLERATIONS}` } });

export const podOverrides = block({
  labels: ruled(mapping(metadataKey, labelValue, 32), [foreignKeys])
    .optional()
    .describe('Labels added to the pods, at most 32. Keys under serving.sluice.dev/ and app.kubernetes.io/ are refused.'),
  annotations: ruled(mapping(metadataKey, anyText(4_096), 32), [foreignKeys])
    .optional()
    .describe(
      'Annotations added to the pods, at most 32 of at most 4,096 characters. Keys under serving.sluice.dev/ and app.kubernetes.io/ are refused.',
    ),
  nodeSelector: mapping(metadataKey, labelValue, 32).optional().describe('Labels that a node must have, at most 32.'),
  tolerations: tolerations.optional().describe('Taints of nodes that the pods tolerate, at most 16.'),
  priorityClassName: objectName.optional().describe('PriorityClass of the pods. At most 253 characters.'),
  serviceAccountName: objectName
    .optional()
    .describe('ServiceAccount of the pods, in the same namespace. At most 253 characters. Absent: `default`, as Kubernetes has it.'),
  imagePullSecrets: imagePullSecrets.optional().describe('Secrets with which nodes pull the image, at most 8.'),
});
