/** The values of the chart: the only source of values.yaml, values.schema.json and the table in the chart's README. */
import { z } from 'zod';

const name = (what: string) =>
  z
    .string()
    .regex(/^(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)?$/)
    .default('')
    .describe(what);
const labels = (what: string) => z.record(z.string(), z.string()).default({}).describe(what);
const port = () => z.int().min(1).max(65_535);
const quantity = z.union([z.string().regex(/^[0-9.]+(?:m|k|M|G|T|Ki|Mi|Gi|Ti)?$/), z.number().positive()]);

const toleration = z.strictObject({
  key: z.string().optional().describe('Key of the taint; absent with operator Exists tolerates every taint.'),
  operator: z.enum(['Exists', 'Equal']).optional().describe('Whether the value counts.'),
  value: z.string().optional().describe('Value of the taint.'),
  effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional().describe('Effect of the taint; absent is all.'),
  tolerationSeconds: z.int().min(0).optional().describe('How long a NoExecute taint is tolerated, in seconds.'),
});

const peer = z.looseObject({}).describe('One NetworkPolicyPeer: namespaceSelector, podSelector or ipBlock, as in networking.k8s.io/v1.');

export const VALUES = z.strictObject({
  image: z
    .strictObject({
      repository: z
        .string()
        .regex(/^[a-z0-9][-a-zA-Z0-9._:/]*$/)
        .default('sluice')
        .describe('Name of the image without its tag. `npm run image` makes it; none is published yet.'),
      tag: z
        .string()
        .regex(/^[-\w.]*$/)
        .default('')
        .describe('Tag of the image; empty is the appVersion of the chart.'),
      digest: z
        .string()
        .regex(/^(?:sha256:[0-9a-f]{64})?$/)
        .default('')
        .describe('Digest of the image, `sha256:…`; it wins over the tag.'),
      pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).default('IfNotPresent').describe('When nodes pull the image.'),
    })
    .prefault({})
    .describe('The image of the operator, which routers run too, and instances that name no engine.image.'),
  servingImage: z
    .string()
    .default('')
    .describe('Image of routers and of instances that name no engine.image; empty is that of the operator.'),
  imagePullSecrets: z
    .array(z.strictObject({ name: z.string().min(1).describe('Name of a Secret of type kubernetes.io/dockerconfigjson.') }))
    .default([])
    .describe('Secrets with which the image of the operator is pulled.'),
  replicas: z.int().min(1).max(5).default(2).describe('Operators that run; one leads, the others take over when it ends.'),
  watchNamespace: name('The one namespace whose ServingDeployments are looked after; empty is all. It must be there.'),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe('The least important lines that are logged.'),
  healthPort: port().default(8081).describe('Port of /healthz, /readyz and /metrics.'),
  resources: z
    .strictObject({
      requests: z.record(z.string(), quantity).default({ cpu: '50m', memory: '192Mi' }).describe('What the scheduler sets aside.'),
      limits: z.record(z.string(), quantity).default({ memory: '512Mi' }).describe('What the operator may not go beyond.'),
    })
    .prefault({})
    .describe('Compute resources of one operator.'),
  nodeSelector: labels('Labels that nodes of the operator have.'),
  tolerations: z.array(toleration).default([]).describe('Taints of nodes that the operator may run on all the same.'),
  affinity: z.looseObject({}).default({}).describe('Affinity of the pods of the operator, as in a PodSpec.'),
  priorityClassName: z.string().default('').describe('PriorityClass of the pods of the operator.'),
  podLabels: labels('More labels of the pods of the operator.'),
  podAnnotations: labels('Annotations of the pods of the operator.'),
  serviceAccount: z
    .strictObject({
      create: z.boolean().default(true).describe('Whether the chart makes the ServiceAccount.'),
      name: z.string().default('').describe('Its name; empty is the full name of the release with -operator.'),
      annotations: labels('Its annotations.'),
    })
    .prefault({})
    .describe('Who the operator is to the API server.'),
  rbac: z
    .strictObject({
      create: z.boolean().default(true).describe('Whether the chart gives the operator the rights that it needs.'),
      aggregate: z.boolean().default(true).describe('Whether the roles view, edit and admin of the cluster get rights on our resources.'),
    })
    .prefault({})
    .describe('Rights.'),
  crds: z
    .strictObject({
      install: z.boolean().default(true).describe('Whether the chart installs and upgrades the CustomResourceDefinitions.'),
      keep: z.boolean().default(true).describe('Whether they, and with them every ServingDeployment, outlive helm uninstall.'),
    })
    .prefault({})
    .describe('CustomResourceDefinitions.'),
  podDisruptionBudget: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Whether there is one; with one replica there is none in any case.'),
      maxUnavailable: z.int().min(1).max(4).default(1).describe('Operators that a drain of nodes may take at one time.'),
    })
    .prefault({})
    .describe('Disruption budget of the operator.'),
  networkPolicy: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Whether traffic of the operator is limited to what it needs.'),
      apiServerPorts: z
        .array(port())
        .min(1)
        .default([443, 6443, 8443])
        .describe('Ports on which the API server may be reached, also behind its Service.'),
      metricsFrom: z.array(peer).default([]).describe('Who may reach health and metrics; empty is everybody.'),
    })
    .prefault({})
    .describe('Network policy of the operator.'),
  metrics: z
    .strictObject({
      podMonitor: z
        .strictObject({
          enabled: z
            .boolean()
            .default(false)
            .describe(
              'Whether operators, routers and instances are scraped; needs the CRDs of prometheus-operator, and a NetworkPolicy of yours that lets Prometheus at instances.',
            ),
          interval: z
            .string()
            .regex(/^\d+(?:s|m)$/)
            .default('30s')
            .describe('How often.'),
          labels: labels('Labels by which your Prometheus chooses PodMonitors.'),
        })
        .prefault({})
        .describe('PodMonitors.'),
      rules: z
        .strictObject({
          enabled: z.boolean().default(false).describe('Whether alerts are installed; needs the CRDs of prometheus-operator.'),
          labels: labels('Labels by which your Prometheus chooses PrometheusRules.'),
        })
        .prefault({})
        .describe('PrometheusRule.'),
      dashboard: z
        .strictObject({
          enabled: z.boolean().default(false).describe('Whether a ConfigMap holds the Grafana dashboard.'),
          labels: labels('Labels by which the sidecar of Grafana chooses ConfigMaps.').default({ grafana_dashboard: '1' }),
        })
        .prefault({})
        .describe('Grafana dashboard.'),
    })
    .prefault({})
    .describe('What is watched; all of it is off by default.'),
  test: z
    .strictObject({
      engine: z
        .enum(['sim', 'llamacpp'])
        .default('sim')
        .describe('Engine of the ServingDeployment that helm test makes: simulated, or real on the CPU with random weights.'),
      timeoutSeconds: z.int().min(10).max(3_600).default(240).describe('How long helm test waits for an answer.'),
    })
    .prefault({})
    .describe('What helm test does.'),
  nameOverride: name('Part of the names of objects instead of the name of the chart.'),
  fullnameOverride: name('Beginning of the names of objects instead of the names of release and chart.'),
  global: z.looseObject({}).default({}).describe('Helm gives it to charts that are part of others; nothing here reads it.'),
});
