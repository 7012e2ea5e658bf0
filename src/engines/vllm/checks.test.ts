import { expect, it } from 'vitest';
import { explainOverride } from '../agent/overrides.ts';
import { findOverrides } from './checks.ts';

it.each([
  ['--block-size', ['--block-size', '16'], '16'],
  ['--block-size', ['--block-size=16'], '16'],
  ['--block_size', ['--block_size=16'], '16'],
  ['--block-s', ['--block-s', '16'], '16'],
  ['--kv-transfer-config.kv_role', ['--kv-transfer-config.kv_role', 'kv_both'], 'kv_both'],
  ['--kv-events-config', ['--kv-events-config', '{}'], '{}'],
  ['--no-enable-prefix-caching', ['--no-enable-prefix-caching', '--seed', '1'], ''],
  ['--prefix-caching-hash-algo', ['--prefix-caching-hash-algo', 'xxhash'], 'xxhash'],
  ['--dtype', ['--dtype', 'half'], 'half'],
  ['--kv-cache-dtype', ['--kv-cache-dtype=fp8'], 'fp8'],
  ['--port', ['--port=1'], '1'],
  ['--served-model-name', ['--served-model-name', 'x'], 'x'],
  ['--config', ['--config', 'a.yaml'], 'a.yaml'],
  ['-tp', ['-tp=2'], '2'],
  ['-dp2', ['-dp2'], ''],
  ['--api-key', ['--api-key', 'secret'], 'secret'],
  ['--data-parallel-size', ['--data-parallel-size', '2'], '2'],
])('refuses %s', (name, args, value) => {
  const found = findOverrides(args, {});
  expect(found).toEqual([{ name, value, expected: expect.stringMatching(/^no -.+: (?:.*remove it|write its lines)/) }]);
  expect(explainOverride(found[0] ?? { name: '', value: '', expected: '' })).toMatch(value === '' ? /^-\S+: / : /^-\S+ \(given: .+\): /);
});

it('lets everything else through', () => {
  const args = [
    '--max-num-batched-tokens',
    '512',
    '--seed=1',
    '-O3',
    '--gpu-memory-utilization',
    '0.8',
    '--chat-template-content-format',
    'string',
  ];
  expect(findOverrides(args, { PATH: '/bin', PYTHONHASHSEED: '0', VLLM_SERVER_DEV_MODE: '0', VLLM_LOGGING_LEVEL: 'DEBUG' })).toEqual([]);
});

it('refuses variables that part an instance from its peers', () => {
  const env = { VLLM_KV_CACHE_LAYOUT: 'NHD', PYTHONHASHSEED: 'random', VLLM_SERVER_DEV_MODE: '1', VLLM_CPU_KVCACHE_SPACE: '4' };
  expect(findOverrides([], env).map(explainOverride)).toEqual([
    'PYTHONHASHSEED (given: random): must be 0 in all instances: unset it',
    'VLLM_KV_CACHE_LAYOUT (given: NHD): instances hand KV over in one layout, which vLLM chooses: unset it',
    'VLLM_SERVER_DEV_MODE (given: 1): its routes let any client stop the engine: unset it',
    'VLLM_CPU_KVCACHE_SPACE (given: 4): the bytes for KV follow from the fields of the instance: unset it and set the field',
  ]);
});
