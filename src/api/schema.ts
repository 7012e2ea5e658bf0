/**
 * The schema of a ServingDeployment as it is written in YAML: the only source of fields, defaults, bounds, descriptions and rules, for
 * the reader of manifests, the CRD and the reference alike. It parses and fills defaults but converts nothing; `normalise.ts` turns the
 * result into the domain type.
 */
import { z } from 'zod';
import { engine } from './blocks/engine.ts';
import { kv } from './blocks/kv.ts';
import { model } from './blocks/model.ts';
import { anyText, deploymentName, labelValue, metadataKey } from './blocks/names.ts';
import { network } from './blocks/network.ts';
import { pool } from './blocks/pool.ts';
import { rollout } from './blocks/rollout.ts';
import { router } from './blocks/router.ts';
import { slo } from './blocks/slo.ts';
import { crossCheck, specCelRules } from './checks.ts';
import { block, mapping } from './fields.ts';
import { withCelRules } from './rule.ts';

export const GROUP = 'serving.sluice.dev';
export const VERSION = 'v1alpha1';
export const API_VERSION = `${GROUP}/${VERSION}` as const;
export const KIND = 'ServingDeployment';

const metadata = block({
  name: deploymentName.describe('Name of the deployment; prefixes the names of all its instances. At most 53 characters.'),
  namespace: deploymentName.default('default').describe('Namespace. Used on Kubernetes; on one machine it only keeps equal names apart.'),
  labels: mapping(metadataKey, labelValue, 64).default({}).describe('Labels, at most 64.'),
  annotations: mapping(metadataKey, anyText(16_384), 64).default({}).describe('Annotations, at most 64 of at most 16,384 characters.'),
});

const spec = block({
  model: model.describe('The model that is served.'),
  engine: engine.describe('The engine that all instances run.'),
  slo: slo.optional().describe('Service level objectives.'),
  prefill: pool('prefill', 0).optional().describe('The prefill pool. Absent: the decode pool does both.'),
  decode: pool('decode', 1).describe('The decode pool.'),
  kv: kv.prefault({}).describe('The KV tier.'),
  router: router.prefault({}).describe('The router in front of the pools.'),
  network: network.prefault({}).describe('Who may reach the pods.'),
  rollout: rollout.prefault({}).describe('How a change of the spec comes about.'),
});

export const servingDeploymentSchema = block({
  apiVersion: z.literal(API_VERSION, { error: API_VERSION }).describe('Version of the resource.'),
  kind: z.literal(KIND, { error: KIND }).describe('Kind of the resource.'),
  metadata: metadata.describe('What names the resource.'),
  spec: withCelRules(spec.superRefine(crossCheck), specCelRules).describe('What is wanted.'),
});

/** A manifest that parsed, defaults filled in, durations and quantities still as text. */
export type ServingDeploymentManifest = z.output<typeof servingDeploymentSchema>;
