import { describe, expect, it } from 'vitest';
import { formatPath } from './manifest-error.ts';
import { ownArguments } from './ownarguments.ts';

function found(type: 'llamacpp' | 'vllm' | 'sglang', args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  return ownArguments({ type, args, env }).map(({ path, expected }) => ({ path: formatPath(path), expected }));
}

describe('ownArguments', () => {
  it.each(['--port', '--port=9', '--model-name=x', '--costs={}'])('refuses %s, which Sluice sets itself', (argument) => {
    expect(found('llamacpp', ['--threads=1', argument])).toMatchObject([{ path: 'engine.args[1]' }]);
  });

  it.each(['--threads=1', 'port', '--constructor', '--max-model-len=5'])('lets %s pass to an engine of ours', (argument) => {
    expect(found('llamacpp', [argument])).toEqual([]);
  });

  it.each([
    '--port=1',
    '--block-size',
    '--max_model_len=5',
    '--kv-transfer-config.kv_role=kv_both',
    '--kv_events_config={}',
    '--served-model-name=x',
    '--no-enable-prefix-caching',
    '--served-model',
    '--kv-transf={}',
    '-tp',
    '-tp=2',
    '-dp=2',
    '--config=x.yaml',
    '--tokenizer=other',
  ])('refuses %s to vLLM', (argument) => {
    expect(found('vllm', ['--enforce-eager', argument])).toMatchObject([{ path: 'engine.args[1]' }]);
  });

  it.each([
    '--max-num-batched-tokens=512',
    '--enforce-eager',
    '--gpu-memory-utilization=0.8',
    '--quantization=fp8',
    '--chat-template-content-format=string',
    '-O3',
    '512',
    '--load-format=dummy',
  ])('lets %s pass to vLLM', (argument) => {
    expect(found('vllm', [argument])).toEqual([]);
  });

  it.each([
    '--tp=2',
    '--page-size',
    '--disaggregation-mode=prefill',
    '--model-path=x',
    '--kv-events-config={}',
    '--dp-size=2',
    '--api-key=x',
  ])('refuses %s to SGLang', (argument) => {
    expect(found('sglang', ['--mem-fraction-static=0.8', argument])).toMatchObject([{ path: 'engine.args[1]' }]);
  });

  it.each(['--mem-fraction-static=0.8', '--disaggregation-ib-device=mlx5_0', '--load-format=dummy', '-tp', '--block-size=1'])(
    'lets %s pass to SGLang',
    (argument) => {
      expect(found('sglang', [argument])).toEqual([]);
    },
  );

  it('says why, and what to do', () => {
    expect(
      found('vllm', ['--dtype=half', '--chat-template=x'], { PYTHONHASHSEED: '1', VLLM_KV_CACHE_LAYOUT: 'NHD', HF_HOME: '/x' }),
    ).toEqual([
      { path: 'engine.args[0]', expected: 'no --dtype, which Sluice sets from the other fields: remove it' },
      {
        path: 'engine.args[1]',
        expected: 'no --chat-template, since the router makes the same tokens from the files of the model: remove it',
      },
      { path: 'engine.env.PYTHONHASHSEED', expected: 'no PYTHONHASHSEED, which Sluice sets from the other fields: remove it' },
      {
        path: 'engine.env.VLLM_KV_CACHE_LAYOUT',
        expected: 'no VLLM_KV_CACHE_LAYOUT, since instances hand KV over in one layout: remove it',
      },
    ]);
  });

  it('leaves variables of other engines alone', () => expect(found('llamacpp', [], { PYTHONHASHSEED: '1' })).toEqual([]));
});
