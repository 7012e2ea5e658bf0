import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatManifestErrors, parseManifests } from '../../src/api/index.ts';

const FOLDER = new URL('../../manifests/samples/', import.meta.url);
const samples = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'));

describe('manifests/samples', () => {
  it('holds the quickstart, and vLLM with and without accelerators', () => {
    expect(samples).toEqual(expect.arrayContaining(['quickstart.yaml', 'vllm-cpu.yaml', 'vllm-gpu.yaml', 'vllm-h200.yaml']));
  });

  it.each(samples)('%s is sound', (name) => {
    const result = parseManifests(readFileSync(new URL(name, FOLDER), 'utf8'), name);
    expect(result.ok ? '' : formatManifestErrors(result.errors)).toBe('');
  });

  it('run vLLM on the CPU so that greedy answers do not depend on the batch', () => {
    const { engine, model, prefill, decode, kv } = specOf('vllm-cpu.yaml');
    expect({ type: engine.type, dtype: engine.dtype, source: model.source }).toEqual({
      type: 'vllm',
      dtype: 'float32',
      source: 'builtin:tiny',
    });
    expect([prefill, decode]).toMatchObject([
      { replicas: 1, accelerator: null },
      { replicas: 1, accelerator: null },
    ]);
    expect(kv.blockTokens % 32).toBe(0);
  });

  it('run vLLM on a pair of accelerators', () => {
    const { prefill, decode } = specOf('vllm-gpu.yaml');
    expect([prefill?.accelerator, decode.accelerator]).toEqual(['nvidia-h100', 'nvidia-h100']);
  });
});

function specOf(name: string) {
  const result = parseManifests(readFileSync(new URL(name, FOLDER), 'utf8'), name);
  const [deployment] = result.ok ? result.deployments : [];
  if (!deployment) throw new Error(`${name} holds no deployment`);
  return deployment.spec;
}
