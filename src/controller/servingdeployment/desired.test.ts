import { describe, expect, it } from 'vitest';
import { parseManifests, type ServingDeployment } from '../../api/index.ts';
import { deploymentRevision, desiredOf } from './desired.ts';

function deployment(spec: string): ServingDeployment {
  const text = `apiVersion: serving.sluice.dev/v1alpha1\nkind: ServingDeployment\nmetadata: {name: d}\nspec: ${spec}`;
  const result = parseManifests(text, 'test.yaml');
  if (!result.ok || !result.deployments[0]) throw new Error(JSON.stringify(result));
  return result.deployments[0];
}

const BASE = '{model: {name: m}, engine: {type: sim}, prefill: {replicas: 1}, decode: {replicas: 2}}';

function changed(from: string, to: string) {
  const [before, after] = [desiredOf(deployment(from)), desiredOf(deployment(to))];
  return {
    prefill: before.pools.prefill?.revision !== after.pools.prefill?.revision,
    decode: before.pools.decode?.revision !== after.pools.decode?.revision,
    family: before.family !== after.family,
    router: before.router.revision !== after.router.revision,
  };
}

describe('desiredOf', () => {
  it('makes the decode pool mixed when there is no prefill pool', () => {
    const pools = desiredOf(deployment('{model: {name: m}, engine: {type: sim}, decode: {replicas: 3}}')).pools;
    expect(pools).toMatchObject({ mixed: { replicas: 3, spec: { role: 'mixed' } } });
    expect(Object.keys(pools)).toEqual(['mixed']);
  });

  it('changes no revision when only counts change', () => {
    expect(changed(BASE, BASE.replace('replicas: 2', 'replicas: 5'))).toEqual({
      prefill: false,
      decode: false,
      family: false,
      router: false,
    });
  });

  it('changes exactly the revisions of what must be restarted', () => {
    const edit = (change: string) => changed(BASE, BASE.replace('type: sim', `type: sim${change}`));
    expect(edit(', maxSequences: 8')).toEqual({ prefill: true, decode: true, family: false, router: false });
    const costs = changed(BASE, BASE.replace('replicas: 2', 'replicas: 2, sim: {costs: {stepFixed: 3}}'));
    expect(costs).toEqual({ prefill: false, decode: true, family: false, router: false });
    const router = changed(BASE, BASE.replace('decode:', 'router: {limits: {queue: 7}}, decode:'));
    expect(router).toEqual({ prefill: false, decode: false, family: false, router: true });
    const model = changed(BASE, BASE.replace('name: m', 'name: n'));
    expect(model).toEqual({ prefill: true, decode: true, family: true, router: false });
    const blocks = changed(BASE, BASE.replace('decode:', 'kv: {blockTokens: 32}, decode:'));
    expect(blocks).toEqual({ prefill: true, decode: true, family: true, router: false });
  });

  it('changes nothing that runs on one machine with what only Kubernetes uses', () => {
    const more = BASE.replace('type: sim', 'type: sim, image: sluice:1, imagePullPolicy: Never')
      .replace('replicas: 2', 'replicas: 2, podOverrides: {labels: {team: chat}}')
      .replace('decode:', 'router: {replicas: 3, service: {type: NodePort}}, decode:');
    expect(changed(BASE, more)).toEqual({ prefill: false, decode: false, family: false, router: false });
    expect(Object.keys(JSON.parse(desiredOf(deployment(more)).router.spec.config))).toEqual([
      'limits',
      'deadlines',
      'models',
      'saltHeader',
    ]);
  });

  it('tells routers where their traces go and what they are called there, and restarts nothing else', () => {
    const traced = BASE.replace('decode:', 'router: {tracing: {endpoint: "http://otel-collector:4318", sampleRatio: 0.1}}, decode:');
    expect(changed(BASE, traced)).toEqual({ prefill: false, decode: false, family: false, router: true });
    const more = traced.replace('0.1', '0.2');
    expect(changed(traced, more)).toEqual({ prefill: false, decode: false, family: false, router: true });
    const tracing = { endpoint: 'http://otel-collector:4318', sampleRatio: 0.1, serviceName: 'd-router', serviceNamespace: 'default' };
    for (const target of [{ kind: 'processes' }, { kind: 'pods', image: 'sluice:1', replicas: {} }] as const)
      expect(JSON.parse(desiredOf(deployment(traced), target).router.spec.config)).toMatchObject({ tracing });
  });

  it('has one revision for all of it', () => {
    const revision = (text: string) => deploymentRevision(desiredOf(deployment(text)));
    expect(revision(BASE.replace('replicas: 2', 'replicas: 5'))).toBe(revision(BASE));
    expect(revision(BASE.replace('name: m', 'name: n'))).not.toBe(revision(BASE));
    expect(revision(BASE.replace('decode:', 'router: {limits: {queue: 7}}, decode:'))).not.toBe(revision(BASE));
    expect(revision(BASE.replace('prefill: {replicas: 1}, ', ''))).not.toBe(revision(BASE));
  });

  it('never mixes KV of two number formats, and tells an instance where it runs', () => {
    const vllm = '{model: {name: m}, engine: {type: vllm, dtype: float32}, prefill: {}, decode: {}}';
    expect(changed(vllm, vllm.replace('float32', 'bfloat16'))).toEqual({ prefill: true, decode: true, family: true, router: false });
    const gpus = vllm.replace('prefill: {}, decode: {}', 'prefill: {accelerator: nvidia-h100}, decode: {accelerator: nvidia-h100}');
    const spread = changed(gpus, gpus.replace('decode: {', 'decode: {parallelism: {tensor: 2}, '));
    expect(spread).toEqual({ prefill: false, decode: true, family: false, router: false });
    const { pools } = desiredOf(deployment(gpus));
    expect(pools.decode?.spec).toMatchObject({ dtype: 'float32', accelerator: 'nvidia-h100', tensorParallel: 1 });
    expect(desiredOf(deployment(BASE)).pools.decode?.spec).toMatchObject({ dtype: null, accelerator: null, tensorParallel: null });
  });
});
