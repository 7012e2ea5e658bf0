import { describe, expect, it } from 'vitest';
import { parseManifests } from './manifest.ts';
import { readResource } from './resource.ts';

const SPEC = { model: { name: 'm' }, engine: { type: 'sim' }, prefill: {}, decode: { replicas: 2 } };
const OBJECT = {
  apiVersion: 'serving.sluice.dev/v1alpha1',
  kind: 'ServingDeployment',
  metadata: {
    name: 'chat',
    namespace: 'a-namespace-whose-name-is-longer-than-a-deployment-may-be-called',
    uid: '5b0d',
    resourceVersion: '7',
    generation: 3,
    managedFields: [{ manager: 'kubectl' }],
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': 'x'.repeat(20_000) },
  },
  spec: SPEC,
  status: { observedGeneration: 3 },
};

describe('an object of a kube-apiserver', () => {
  it('gives the deployment that a manifest gives', () => {
    const manifest = parseManifests(JSON.stringify({ ...OBJECT, metadata: { name: 'chat' }, status: undefined }), 'f.yaml');
    const read = readResource(OBJECT);
    if (!manifest.ok || !read.ok) throw new Error('refused');
    expect(read.deployment.spec).toEqual(manifest.deployments[0]?.spec);
    expect(read.deployment.metadata).toEqual({
      name: 'chat',
      namespace: OBJECT.metadata.namespace,
      labels: {},
      annotations: OBJECT.metadata.annotations,
    });
  });

  it('of another release is refused with what is wrong and where', () => {
    const spec = { ...SPEC, decode: { replicas: 0 }, later: true };
    expect(readResource({ ...OBJECT, spec })).toEqual({
      ok: false,
      errors: [
        'spec.decode.replicas: expected a whole number from 1 to 64 (instances)',
        expect.stringMatching(/^spec\.later: expected one of the fields model, engine/),
      ],
    });
    expect(readResource({ ...OBJECT, spec: { ...SPEC, kv: { lease: '1s' } } })).toMatchObject({
      errors: [expect.stringMatching(/^spec\.kv\.lease: expected at least 5s, which router\.deadlines\.pull/)],
    });
  });

  it.each([
    ['nothing', null],
    ['a text', 'x'],
    ['a list', []],
    ['an empty object', {}],
    ['an object of another kind', { ...OBJECT, kind: 'ServingPool' }],
    ['an object without a spec', { ...OBJECT, spec: null }],
  ])('is not %s', (_, object) => {
    expect(readResource(object)).toMatchObject({ ok: false });
  });
});
