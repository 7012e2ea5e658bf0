import { describe, expect, it } from 'vitest';
import { type SglangPlace, type SglangSpec, sglangCommand } from './command.ts';

const SPEC: SglangSpec = {
  role: 'prefill',
  model: 'Qwen/Qwen3-8B',
  revision: 'main',
  modelName: 'qwen3-8b',
  dtype: 'bfloat16',
  tensorParallel: 2,
  transferBackend: 'nixl',
  contextTokens: 32_768,
  maxSequences: 128,
  blockTokens: 16,
  extra: [],
};
const PLACE: SglangPlace = {
  host: '10.0.0.5',
  device: { kind: 'cuda', visible: [2, 3] },
  ports: { http: 7000, sideChannel: 7001, events: 7002, replay: 7003 },
};
const EVENTS = '{"publisher":"zmq","endpoint":"tcp://*:7002","replay_endpoint":"tcp://*:7003","topic":"kv"}';

describe('sglangCommand', () => {
  it('starts a prefill instance', () => {
    const { args, env } = sglangCommand(SPEC, PLACE);
    expect(args.join(' ')).toBe(
      '-m sglang.launch_server --model-path Qwen/Qwen3-8B --served-model-name qwen3-8b --host 10.0.0.5 --port 7000 --dtype bfloat16 ' +
        `--context-length 32768 --max-running-requests 128 --page-size 16 --tp-size 2 --kv-events-config ${EVENTS} ` +
        '--log-level-http warning --revision main --disaggregation-mode prefill --disaggregation-transfer-backend nixl ' +
        '--disaggregation-bootstrap-port 7001 --enable-metrics --enable-cache-report',
    );
    expect(env).toEqual({
      PYTHONUNBUFFERED: '1',
      SGLANG_HOST_IP: '10.0.0.5',
      SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION: 'false',
      CUDA_VISIBLE_DEVICES: '2,3',
    });
  });

  it('gives the same to a decode instance but for its mode', () => {
    const differs = (role: SglangSpec['role']) => sglangCommand({ ...SPEC, role }, PLACE).args.filter((word) => word !== role);
    expect(differs('decode')).toEqual(differs('prefill'));
  });

  it('tells one that does all of it nothing of hand-offs', () => {
    expect(sglangCommand({ ...SPEC, role: 'mixed' }, PLACE).args.join(' ')).not.toContain('disaggregation');
  });

  it('asks no hub for a folder, has no revision of it, and leaves a choice of accelerators alone', () => {
    const place = { ...PLACE, device: { kind: 'cuda', visible: null } } as const;
    const { args, env } = sglangCommand({ ...SPEC, model: '/models/qwen' }, place);
    expect([args.includes('--revision'), env['HF_HUB_OFFLINE'], env['CUDA_VISIBLE_DEVICES']]).toEqual([false, '1', undefined]);
  });

  it("puts the user's own arguments last, where they win", () => {
    expect(sglangCommand({ ...SPEC, extra: ['--mem-fraction-static', '0.8'] }, PLACE).args.slice(-2)).toEqual([
      '--mem-fraction-static',
      '0.8',
    ]);
  });
});
