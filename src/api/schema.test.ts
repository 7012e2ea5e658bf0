import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { servingDeploymentSchema } from './schema.ts';

type Schema = z.core.JSONSchema.BaseSchema;
const schema: Schema = z.toJSONSchema(servingDeploymentSchema, { io: 'input', target: 'openapi-3.0' });

/** Every field of the schema with its path. */
function fields(parent: Schema, path: string): { path: string; field: Schema }[] {
  return Object.entries(parent.properties ?? {}).flatMap(([name, field]) => {
    if (typeof field === 'boolean') return [];
    const here = `${path}${name}`;
    return [{ path: here, field }, ...fields(field, `${here}.`)];
  });
}

describe('the schema', () => {
  const all = fields(schema, '');

  it('has the fields of the resource', () => {
    expect(all.length).toBeGreaterThan(60);
    expect(all.filter(({ path }) => /^spec\.[^.]+$/.test(path)).map(({ path }) => path.slice(5))).toEqual([
      'model',
      'engine',
      'slo',
      'prefill',
      'decode',
      'kv',
      'router',
      'network',
      'rollout',
    ]);
  });

  it('describes every field', () => {
    expect(all.filter(({ field }) => !field.description?.endsWith('.')).map(({ path }) => path)).toEqual([]);
  });

  it('bounds every number, text, list and free mapping', () => {
    const unbounded = all.filter(({ field }) => {
      if (field.enum) return false;
      if (field.type === 'integer' || field.type === 'number') return field.minimum === undefined || field.maximum === undefined;
      if (field.type === 'array') return field.maxItems === undefined;
      return false;
    });
    expect(unbounded.map(({ path }) => path)).toEqual([]);
  });

  it('is strict everywhere', () => {
    const open = all.filter(({ field }) => field.type === 'object' && field.properties && field.additionalProperties !== false);
    expect(open.map(({ path }) => path)).toEqual([]);
    expect(schema.additionalProperties).toBe(false);
  });
});
