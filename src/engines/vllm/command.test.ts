import { describe, expect, it } from 'vitest';
import { type VllmPlace, type VllmSpec, vllmCommand } from './command.ts';

const SPEC: VllmSpec = {
  role: 'prefill',
  model: '/models/tiny',
  revision: 'main',
  modelName: 'tiny',
  dtype: 'float32',
  tensorParallel: 1,
  contextTokens: 4096,
  maxSequences: 16,
  blockTokens: 32,
  hbmBytes: 300_000_000,
  leaseMs: 30_500,
  extra: [],
};
const PLACE: VllmPlace = {
  host: '127.0.0.1',
  incarnation: 'life-1',
  device: { kind: 'cpu', cores: [1] },
  ports: { http: 7000, sideChannel: 7001, events: 7002, replay: 7003 },
};

describe('vllmCommand', () => {
  it('starts a prefill instance on a CPU', () => {
    const { args, env } = vllmCommand(SPEC, PLACE);
    expect(args.join(' ')).toBe(
      'serve /models/tiny --served-model-name tiny --host 127.0.0.1 --port 7000 --dtype float32 --max-model-len 4096 --max-num-seqs 16 ' +
        '--block-size 32 --prefix-caching-hash-algo sha256_cbor --kv-events-config {"enable_kv_cache_events":true,"publisher":"zmq",' +
        '"endpoint":"tcp://*:7002","replay_endpoint":"tcp://*:7003","topic":"kv"} --kv-cache-memory-bytes 300000000 ' +
        '--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_buffer_device":"cpu","engine_id":"life-1",' +
        '"kv_connector_extra_config":{"kv_lease_duration":31}} ' +
        '--enable-prompt-tokens-details --disable-uvicorn-access-log --enforce-eager',
    );
    expect(env).toEqual({
      PYTHONHASHSEED: '0',
      PYTHONUNBUFFERED: '1',
      VLLM_NO_USAGE_STATS: '1',
      VLLM_NIXL_SIDE_CHANNEL_HOST: '127.0.0.1',
      VLLM_NIXL_SIDE_CHANNEL_PORT: '7001',
      VLLM_SERVER_DEV_MODE: null,
      HF_HUB_OFFLINE: '1',
      VLLM_CPU_KVCACHE_SPACE: null,
      UCX_TLS: 'tcp,shm,self',
      VLLM_CPU_OMP_THREADS_BIND: '1',
      OMP_NUM_THREADS: '1',
    });
  });

  it('starts a decode instance on two accelerators with a model of the hub', () => {
    const spec: VllmSpec = { ...SPEC, role: 'decode', model: 'org/name', tensorParallel: 2, dtype: 'auto' };
    const { args, env } = vllmCommand(spec, { ...PLACE, device: { kind: 'cuda', visible: [2, 3] } });
    const line = args.join(' ');
    expect(line).toMatch(/^serve org\/name /);
    expect(line).toContain('--revision main');
    expect(line).toContain('--tensor-parallel-size 2');
    expect(line).toContain('"kv_role":"kv_consumer","kv_buffer_device":"cuda"');
    expect(line).not.toContain('--enforce-eager');
    expect(env).toEqual({
      PYTHONHASHSEED: '0',
      PYTHONUNBUFFERED: '1',
      VLLM_NO_USAGE_STATS: '1',
      VLLM_NIXL_SIDE_CHANNEL_HOST: '127.0.0.1',
      VLLM_NIXL_SIDE_CHANNEL_PORT: '7001',
      VLLM_SERVER_DEV_MODE: null,
      CUDA_VISIBLE_DEVICES: '2,3',
    });
  });

  it('hands nothing over when it does both', () => {
    expect(vllmCommand({ ...SPEC, role: 'mixed' }, PLACE).args.join(' ')).not.toContain('kv-transfer-config');
  });

  it("puts the user's arguments last, and leaves the bytes out when they say a share", () => {
    const { args } = vllmCommand({ ...SPEC, extra: ['--gpu_memory_utilization=0.8', '--seed', '7'] }, PLACE);
    expect(args.slice(-3)).toEqual(['--gpu_memory_utilization=0.8', '--seed', '7']);
    expect(args).not.toContain('--kv-cache-memory-bytes');
  });

  it('gives each process that computes processors of its own, and leaves a binding of the user alone', () => {
    const bind = (cores: number[] | null, tensorParallel: number) =>
      vllmCommand({ ...SPEC, tensorParallel }, { ...PLACE, device: { kind: 'cpu', cores } }).env;
    expect(bind([0, 1, 2, 5], 2)).toMatchObject({ VLLM_CPU_OMP_THREADS_BIND: '0,1|2,5', OMP_NUM_THREADS: '2' });
    expect(bind([4], 2)).toMatchObject({ VLLM_CPU_OMP_THREADS_BIND: '4|4', OMP_NUM_THREADS: '1' });
    expect(bind(null, 1)).not.toHaveProperty('VLLM_CPU_OMP_THREADS_BIND');
  });
});
