import { describe, expect, it } from 'vitest';
import { readStoredDeployment } from './stored.ts';

const SPEC = { model: { name: 'm' }, engine: { type: 'sim' }, decode: { replicas: 2 } };

describe('readStoredDeployment', () => {
  it('fills in defaults, as the domain type and as it is written', () => {
    const read = readStoredDeployment({ metadata: { name: 'chat', namespace: 'team' }, spec: SPEC });
    expect(read).toMatchObject({
      ok: true,
      deployment: { metadata: { name: 'chat', namespace: 'team' }, spec: { decode: { replicas: 2 }, router: { replicas: 1 } } },
      spec: { kv: { lease: expect.any(String) } },
    });
  });

  it('tells all that is wrong with field, value and expectation', () => {
    const spec = { ...SPEC, decode: { replicas: 999 }, engine: { type: 'sim', contextTokens: 'many' } };
    const read = readStoredDeployment({ metadata: { name: 'chat' }, spec });
    if (read.ok) throw new Error('it was taken');
    expect(read.errors.join('; ')).toMatch(/spec\.engine\.contextTokens is "many": expected/);
    expect(read.errors.join('; ')).toMatch(/spec\.decode\.replicas is 999: expected/);
  });

  it.each([undefined, null, 7, [], { model: null }])('reads %j as a mistake, not as a crash', (spec) => {
    expect(readStoredDeployment({ metadata: { name: 'chat' }, spec }).ok).toBe(false);
  });
});
