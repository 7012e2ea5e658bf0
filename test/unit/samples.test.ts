import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatManifestErrors, parseManifests } from '../../src/api/index.ts';
import { readEngineFlags } from '../../src/cli/engineflags.ts';
import { desiredOf } from '../../src/controller/servingdeployment/desired.ts';
import { sglangCommand } from '../../src/engines/sglang/command.ts';
import { engineArguments } from '../../src/platform/command.ts';

const FOLDER = new URL('../../manifests/samples/', import.meta.url);
const samples = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'));

describe('manifests/samples', () => {
  it('holds the quickstart, and vLLM with and without accelerators', () => {
    expect(samples).toEqual(
      expect.arrayContaining(['quickstart.yaml', 'vllm-cpu.yaml', 'vllm-gpu.yaml', 'vllm-h200.yaml', 'sglang-gpu.yaml']),
    );
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

describe('manifests/samples/sglang-gpu.yaml', () => {
  it.each(['prefill', 'decode'] as const)('starts this SGLang to %s', (role) => {
    const text = readFileSync(new URL('sglang-gpu.yaml', FOLDER), 'utf8');
    const result = parseManifests(text, 'sglang-gpu.yaml');
    const [deployment] = result.ok ? result.deployments : [];
    const pool = deployment && desiredOf(deployment).pools[role];
    if (!pool) throw new Error('the sample has no such pool');
    const read = readEngineFlags(engineArguments('one', { host: '10.0.0.5', port: 8000 }, pool.spec, pool.spec.modelSource).slice(1));
    if (read.kind !== 'run' || read.flags.sglang === null) throw new Error(`no flags: ${JSON.stringify(read)}`);
    const ports = { http: 7000, sideChannel: 7001, events: 7002, replay: 7003 };
    const spec = { ...read.flags, ...read.flags.sglang };
    const { args } = sglangCommand(spec, { host: '10.0.0.5', device: { kind: 'cuda', visible: [0] }, ports });
    expect(args.join(' ')).toBe(
      '-m sglang.launch_server --model-path Qwen/Qwen3-8B --served-model-name qwen3-8b --host 10.0.0.5 --port 7000 --dtype bfloat16 ' +
        '--context-length 32768 --max-running-requests 128 --page-size 16 --tp-size 1 --kv-events-config {"publisher":"zmq",' +
        '"endpoint":"tcp://*:7002","replay_endpoint":"tcp://*:7003","topic":"kv"} --log-level-http warning --revision main ' +
        `--disaggregation-mode ${role} --disaggregation-transfer-backend mooncake --disaggregation-bootstrap-port 7001 ` +
        '--enable-metrics --enable-cache-report --mem-fraction-static=0.85',
    );
  });
});

function specOf(name: string) {
  const result = parseManifests(readFileSync(new URL(name, FOLDER), 'utf8'), name);
  const [deployment] = result.ok ? result.deployments : [];
  if (!deployment) throw new Error(`${name} holds no deployment`);
  return deployment.spec;
}
