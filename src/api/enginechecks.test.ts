import { describe, expect, it } from 'vitest';
import { engineRules } from './enginechecks.ts';
import type { CheckedSpec } from './finding.ts';
import { formatPath } from './manifest-error.ts';
import { brokenRules } from './rule.ts';

const ENGINE = { type: 'llamacpp', args: [], env: {}, contextTokens: 8_192 } as const;
const SOUND: CheckedSpec = {
  model: { name: 'm', source: 'builtin:tiny' },
  engine: ENGINE,
  decode: {},
  kv: { lease: '30s' },
  router: {
    limits: { queueTimeout: '10s' },
    deadlines: { prefill: '30s', pull: '5s', firstToken: '60s', idle: '30s', total: '10m' },
  },
};
const VLLM: CheckedSpec = { ...SOUND, engine: { ...ENGINE, type: 'vllm' } };
const SGLANG: CheckedSpec = { ...SOUND, model: { name: 'm', source: 'org/name' }, engine: { ...ENGINE, type: 'sglang' } };
const H100 = { accelerator: 'nvidia-h100' };
const engineFindings = (spec: CheckedSpec) => brokenRules(engineRules, spec);
const paths = (spec: CheckedSpec) => engineFindings(spec).map(({ path }) => formatPath(path));

describe('engineRules', () => {
  it.each([SOUND, VLLM, { ...VLLM, prefill: H100, decode: { ...H100, parallelism: { tensor: 8 } } }])(
    'has none for a sound spec',
    (spec) => {
      expect(engineFindings(spec)).toEqual([]);
    },
  );

  it.each<[CheckedSpec, string[]]>([
    [{ ...SGLANG, prefill: H100, decode: H100 }, []],
    [{ ...SGLANG, prefill: {}, decode: H100 }, ['prefill.accelerator']],
    [{ ...SGLANG, decode: {} }, ['decode.accelerator']],
    [{ ...SGLANG, model: SOUND.model, decode: H100 }, ['model.source']],
    [{ ...SGLANG, prefill: { ...H100, parallelism: { tensor: 4 } }, decode: { ...H100, parallelism: { tensor: 2 } } }, []],
    [
      { ...SGLANG, prefill: { ...H100, parallelism: { tensor: 4 } }, decode: { ...H100, parallelism: { tensor: 6 } } },
      ['prefill.parallelism.tensor'],
    ],
    [{ ...VLLM, engine: { ...VLLM.engine, transferBackend: 'nixl' } }, ['engine.transferBackend']],
    [{ ...SGLANG, decode: H100, kv: { lease: '30s', store: {} } }, ['kv.store']],
  ])('finds what SGLang cannot be: %#', (spec, fields) => expect(paths(spec)).toEqual(fields));

  it('allows simulated costs on a simulated engine', () => {
    expect(engineFindings({ ...SOUND, engine: { ...ENGINE, type: 'sim', sim: {} }, prefill: { sim: {} }, decode: { sim: {} } })).toEqual(
      [],
    );
  });

  it('refuses simulated costs on a real engine, wherever they stand', () => {
    const spec = { ...SOUND, engine: { ...ENGINE, sim: {} }, prefill: { sim: {} }, decode: { sim: {} } };
    expect(paths(spec)).toEqual(['engine.sim', 'prefill.sim', 'decode.sim']);
  });

  it('refuses what only vLLM has on other engines', () => {
    const spec = { ...SOUND, engine: { ...ENGINE, dtype: 'auto' }, prefill: H100, decode: { parallelism: { tensor: 1 } } };
    expect(paths(spec)).toEqual(['engine.dtype', 'prefill.accelerator', 'decode.parallelism']);
  });

  it.each([
    ['llamacpp', '/models/a.gguf', true],
    ['llamacpp', 'a.gguf', true],
    ['llamacpp', './folder', false],
    ['llamacpp', 'org/name', false],
    ['sim', 'x.bin', false],
    ['vllm', '/models/qwen', true],
    ['vllm', './qwen', true],
    ['vllm', '../qwen', true],
    ['vllm', 'Qwen/Qwen3-8B', true],
    ['vllm', 'meta-llama/Llama-3.1-8B-Instruct', true],
    ['vllm', 'qwen', false],
    ['vllm', 'builtin:small', false],
    ['vllm', 'org/name/more', false],
    ['vllm', '.../qwen', false],
  ] as const)('for %s takes the source %s: %s', (type, source, taken) => {
    expect(paths({ ...SOUND, engine: { ...ENGINE, type }, model: { name: 'm', source } })).toEqual(taken ? [] : ['model.source']);
  });

  it.each([
    [8, {}, false],
    [16, {}, false],
    [32, {}, true],
    [64, {}, true],
    [8, H100, false],
    [16, H100, true],
  ])('of %i tokens in a block with vLLM on %j says: sound is %s', (blockTokens, decode, sound) => {
    expect(paths({ ...VLLM, decode, kv: { lease: '30s', blockTokens } })).toEqual(sound ? [] : ['kv.blockTokens']);
  });

  it('wants an accelerator for more than one of them', () => {
    expect(paths({ ...VLLM, decode: { parallelism: { tensor: 2 } } })).toEqual(['decode.parallelism.tensor']);
  });

  it('does not pair a pool on accelerators with one on the CPU', () => {
    expect(paths({ ...VLLM, prefill: H100 })).toEqual(['decode.accelerator']);
    expect(paths({ ...VLLM, prefill: {}, decode: H100 })).toEqual(['prefill.accelerator']);
  });

  it('wants a context that the built-in model has', () => {
    const engine = { ...ENGINE, type: 'vllm', contextTokens: 8_193 } as const;
    expect(paths({ ...VLLM, engine })).toEqual(['engine.contextTokens']);
    expect(paths({ ...VLLM, engine, model: { name: 'm', source: 'org/name' } })).toEqual([]);
  });

  it('says what to do', () => {
    const spec = { ...VLLM, prefill: H100, kv: { lease: '30s', blockTokens: 16 } };
    expect(engineFindings(spec).map(({ expected }) => expected)).toEqual([
      'an accelerator, since the other pool runs on nvidia-h100 and cannot hand KV over to or from a CPU: set it, or remove it there',
      '32 or 64 (tokens) with vLLM on the CPU: change it, or leave it out',
    ]);
  });
});
