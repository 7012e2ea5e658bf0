import { describe, expect, it } from 'vitest';
import { findings } from './checks.ts';
import type { CheckedSpec } from './finding.ts';
import { formatPath } from './manifest-error.ts';

const SOUND: CheckedSpec = {
  model: { name: 'm', source: 'builtin:tiny' },
  engine: { type: 'llamacpp', args: ['--threads=1'], env: {}, contextTokens: 8_192 },
  decode: {},
  kv: { lease: '30s' },
  router: {
    limits: { queueTimeout: '10s' },
    deadlines: { prefill: '30s', pull: '5s', firstToken: '60s', idle: '30s', total: '10m' },
  },
};
const paths = (spec: CheckedSpec) => findings(spec).map(({ path }) => formatPath(path));

describe('findings', () => {
  it('has none for a sound spec', () => expect(findings(SOUND)).toEqual([]));

  it('wants a target in an slo block', () => {
    expect(paths({ ...SOUND, slo: {} })).toEqual(['slo']);
    expect(paths({ ...SOUND, slo: { tpot: { p50: '10ms' } } })).toEqual([]);
  });

  it('wants percentiles that do not fall', () => {
    expect(paths({ ...SOUND, slo: { ttft: { p50: '1s', p99: '900ms' } } })).toEqual(['slo.ttft.p99']);
    expect(paths({ ...SOUND, slo: { ttft: { p50: '1s', p95: '1000ms', p99: '2s' } } })).toEqual([]);
  });

  it('wants a lease that outlives a pull', () => expect(paths({ ...SOUND, kv: { lease: '4s' } })).toEqual(['kv.lease']));

  it.each(['prefill', 'pull', 'firstToken', 'idle'] as const)('wants deadlines.%s within the total', (name) => {
    const spec = { ...SOUND, kv: { lease: '1h' }, router: { ...SOUND.router, deadlines: { ...SOUND.router.deadlines, [name]: '11m' } } };
    expect(paths(spec)).toEqual([`router.deadlines.${name}`]);
  });

  it('wants a queue timeout within the total', () => {
    expect(paths({ ...SOUND, router: { ...SOUND.router, limits: { queueTimeout: '11m' } } })).toEqual(['router.limits.queueTimeout']);
  });
});
