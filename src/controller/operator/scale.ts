/**
 * Whose word on the size of a pool counts. The deployment's number is written into the pool, and noted beside it; a pool that holds
 * another number than the noted one was scaled by somebody else, and what they set stays. Pure.
 */
import type { KubeObject } from '../../platform/kubernetes/index.ts';
import { FIELD_MANAGER, type PoolObject } from './resources.ts';

/** The number of the deployment that was last written into the pool. */
export const NOTED = 'serving.sluice.dev/deployment-replicas';

export interface Scale {
  /** What counts now. */
  readonly replicas: number;
  /** What to write: the number with the note, the note alone, or nothing. */
  readonly write: 'replicas' | 'note' | null;
  /** Others scaled the pool away from what the deployment says. */
  readonly overridden: boolean;
}

export function decideScale(wanted: number, pool: PoolObject): Scale {
  const noted = pool.metadata.annotations?.[NOTED];
  const stored = pool.spec?.replicas;
  if (noted === undefined || stored === undefined) return { replicas: wanted, write: 'replicas', overridden: false };
  if (String(stored) === noted) return { replicas: wanted, write: stored === wanted ? null : 'replicas', overridden: false };
  // Whoever sets the deployment's number gives the pool back to it.
  if (stored === wanted) return { replicas: wanted, write: 'note', overridden: false };
  return { replicas: stored, write: null, overridden: true };
}

export function overriddenText(pool: PoolObject, field: string, wanted: number): string {
  const { name, namespace } = pool.metadata;
  const command = `kubectl scale servingpool ${name}${namespace === undefined ? '' : ` -n ${namespace}`} --replicas=${wanted}`;
  const by = scaledBy(pool);
  const scaled = `ServingPool ${name} was scaled${by === null ? '' : ` by "${by}"`}`;
  return `${pool.spec?.replicas} are wanted because ${scaled}; ${field} is ${wanted} and does not count until they agree: ${command}`;
}

const SCALED_BY = 'serving.sluice.dev/scaled-by';

/**
 * Keeps of `managedFields`, which is half of an object, only who last set the size of the pool. Never written back. What comes through
 * `/scale` of a custom resource the API server does not note there.
 */
export function keepScaler<T extends KubeObject>(pool: T): T {
  const fields: unknown = Reflect.get(pool.metadata, 'managedFields');
  if (!Array.isArray(fields)) return pool;
  const { managedFields: _, ...metadata } = { managedFields: null, ...pool.metadata };
  const owners = fields.filter((entry) => entry?.fieldsV1?.['f:spec']?.['f:replicas'] !== undefined && entry.manager !== FIELD_MANAGER);
  const newest = owners.sort((a, b) => (String(a.time) < String(b.time) ? 1 : -1))[0];
  if (typeof newest?.manager !== 'string') return { ...pool, metadata };
  return { ...pool, metadata: { ...metadata, annotations: { ...metadata.annotations, [SCALED_BY]: newest.manager } } };
}

function scaledBy(pool: PoolObject): string | null {
  return pool.metadata.annotations?.[SCALED_BY] ?? null;
}
