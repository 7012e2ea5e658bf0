import { describe, expect, it } from 'vitest';
import { readEngineFlags } from './engineflags.ts';

const read = (line: string) => readEngineFlags(line === '' ? [] : line.split(' '));

describe('readEngineFlags', () => {
  it('fills in what is not said', () => {
    expect(read('--type sim')).toEqual({
      kind: 'run',
      flags: {
        type: 'sim',
        role: 'mixed',
        instance: 'sim-mixed',
        modelName: 'simulated',
        modelPath: null,
        host: '127.0.0.1',
        port: 0,
        contextTokens: 8192,
        maxSequences: 16,
        blockTokens: 16,
        hbmBytes: 268_435_456,
        hostBytes: 268_435_456,
        leaseMs: 30_000,
        storeAt: null,
        drainMs: 30_000,
        costs: {},
        dialect: 'sluice',
        sideChannelTimeoutMs: 5000,
        kv: null,
        vllm: null,
        sglang: null,
      },
    });
  });

  it('takes a store in a folder or in Redis, and says what is wrong with another', () => {
    expect(read('--type sim --store {"path":"/kv","capacityBytes":1048576,"bytesPerSecond":4096}')).toMatchObject({
      flags: { storeAt: { kind: 'folder', path: '/kv', capacityBytes: 1_048_576, tenantShare: 1, bytesPerSecond: 4096 } },
    });
    expect(read('--type sim --store {"url":"redis://r","space":"a.b","capacityBytes":1e9,"tenantShare":0.5,"ttlMs":60000}')).toMatchObject({
      flags: { storeAt: { kind: 'redis', url: 'redis://r', space: 'a.b', ttlMs: 60_000, tenantShare: 0.5 } },
    });
    const wrong = (store: string, type = 'sim') => {
      const answer = readEngineFlags(['--type', type, '--store', store, ...(type === 'vllm' ? ['--model', 'a/b'] : [])]);
      return answer.kind === 'wrong' ? answer.message : answer.kind;
    };
    expect(wrong('{')).toMatch(/^--store must be JSON; it is \{"path"/);
    expect(wrong('[]')).toMatch(/must be a JSON object/);
    expect(wrong('{"capacityBytes":1048576}')).toMatch(/names one of path and url/);
    expect(wrong('{"path":"/kv","capacityBytes":1}')).toMatch(/capacityBytes must be a number from 1048576 to .*; got 1/);
    expect(wrong('{"path":"/kv"}')).toMatch(/capacityBytes must be .*; got nothing/);
    expect(wrong('{"path":"/kv","capacityBytes":1048576,"ttlMs":1}')).toMatch(/has no "ttlMs" beside path/);
    expect(wrong('{"url":"redis://r","capacityBytes":1048576}')).toMatch(/--store.space must be text/);
    expect(wrong('{"path":"/kv","capacityBytes":1048576}', 'vllm')).toMatch(/vLLM has connectors of its own/);
  });

  it('takes no name that the servers of --kv do not know', () => {
    const kv = '--kv {"space":"a","nats":{"urls":["nats://n"]}}';
    expect(read(`--type sim --instance a/b ${kv}`)).toEqual({
      kind: 'wrong',
      message: '--instance must have no / where --kv is given, whose servers do not know such names; got "a/b"',
    });
    expect(read(`--type sim --instance a_b.c:1 ${kv}`)).toMatchObject({ kind: 'run', flags: { kv: { space: 'a' } } });
    expect(read('--type sim --instance a/b')).toMatchObject({ kind: 'run', flags: { instance: 'a/b' } });
  });

  it('takes all of them', () => {
    const line =
      '--type llamacpp --role prefill --instance p-1 --model-name qwen/3:8b --model /m.gguf --host ::1 --port 8001 --context 4096 --sequences 4 ' +
      '--block-tokens 32 --hbm-bytes 1024 --host-bytes 0 --lease-ms 5 --drain-ms 0';
    expect(read(line)).toMatchObject({
      kind: 'run',
      flags: {
        role: 'prefill',
        instance: 'p-1',
        modelName: 'qwen/3:8b',
        modelPath: '/m.gguf',
        host: '::1',
        port: 8001,
        hostBytes: 0,
        drainMs: 0,
      },
    });
    expect(read('--type sim --costs {"stepFixed":10}')).toMatchObject({ flags: { costs: { stepFixed: 10 } } });
    const nixl = { dialect: 'nixl', sideChannelTimeoutMs: 250 };
    expect(read('--type sim --dialect nixl --side-channel-timeout-ms 250')).toMatchObject({ flags: nixl });
  });

  it('takes those of vllm', () => {
    const line =
      '--type vllm --model org/name --revision v1 --vllm /v/bin/vllm --dtype float16 --accelerator nvidia-h100 --tensor-parallel 2 ' +
      '--start-ms 5000 --engine-arg=--enforce-eager --engine-arg=--max-num-batched-tokens --engine-arg=512';
    expect(read(line)).toMatchObject({
      kind: 'run',
      flags: {
        type: 'vllm',
        instance: 'vllm-mixed',
        modelPath: null,
        vllm: {
          model: 'org/name',
          revision: 'v1',
          executable: '/v/bin/vllm',
          dtype: 'float16',
          accelerator: 'nvidia-h100',
          tensorParallel: 2,
          cores: null,
          startMs: 5000,
          extra: ['--enforce-eager', '--max-num-batched-tokens', '512'],
        },
      },
    });
  });

  it('takes those of sglang', () => {
    const line =
      '--type sglang --model org/name --accelerator nvidia-h100 --tensor-parallel 2 --transfer-backend nixl --engine-arg=--mem-fraction-static=0.8';
    expect(read(line)).toMatchObject({
      kind: 'run',
      flags: {
        type: 'sglang',
        vllm: null,
        sglang: {
          model: 'org/name',
          revision: null,
          dtype: 'auto',
          accelerator: 'nvidia-h100',
          tensorParallel: 2,
          transferBackend: 'nixl',
          startMs: 3_600_000,
          extra: ['--mem-fraction-static=0.8'],
        },
      },
    });
    expect(read('--type sglang --model org/name --accelerator nvidia-h100')).toMatchObject({
      flags: { sglang: { transferBackend: 'mooncake' } },
    });
  });

  it('helps', () => {
    expect(read('--help')).toEqual({ kind: 'help' });
    expect(read('-h')).toEqual({ kind: 'help' });
  });

  it.each([
    ['', /--type must be one of llamacpp, sim, vllm, sglang; it is missing/],
    ['--type tgi', /--type .*got "tgi"/],
    ['--type vllm', /--model must be a folder or a name of the Hugging Face hub/],
    ['--type vllm --model m --dtype fp4', /--dtype must be one of auto, .*got "fp4"/],
    ['--type vllm --model m --tensor-parallel 0', /--tensor-parallel must be a whole number from 1 to 64/],
    ['--type vllm --model m --accelerator a --cores 2', /--cores is for engines on a CPU/],
    ['--type sglang --accelerator nvidia-h100', /--model must be a folder .* for --type sglang; it is missing/],
    ['--type sglang --model m', /--accelerator must be what SGLang runs on, such as nvidia-h100; it is missing/],
    ['--type sglang --model m --accelerator a --transfer-backend ucx', /--transfer-backend must be one of mooncake, nixl; got "ucx"/],
    ['--type sglang --model m --accelerator a --vllm /v', /--vllm is for --type vllm/],
    ['--type vllm --model m --transfer-backend nixl', /--transfer-backend is for --type sglang/],
    ['--type sim --engine-arg=-x', /--engine-arg is for --type vllm/],
    ['--type sim --dtype auto', /--dtype is for --type vllm/],
    ['--type sim --role king', /--role must be one of prefill, decode, mixed; got "king"/],
    ['--type sim --port -1', /--port/],
    ['--type sim --port 65536', /--port must be a whole number from 0 to 65535; got "65536"/],
    ['--type sim --context 1e3', /--context .*got "1e3"/],
    ['--type sim --sequences 0', /--sequences .* from 1 to 4096; got "0"/],
    ['--type sim --hbm-bytes NaN', /--hbm-bytes/],
    ['--type sim --lease-ms 99999999999999999999', /--lease-ms/],
    ['--type sim --instance -x', /--instance/],
    ['--type sim --instance a,b', /--instance must have .*got "a,b"/],
    ['--type llamacpp', /--model must be the path of a GGUF file/],
    ['--type sim --model m.gguf', /--model is for real engines/],
    ['--type llamacpp --model m.gguf --costs {}', /--costs is for --type sim/],
    ['--type sim --dialect zmq', /--dialect must be one of sluice, nixl, bootstrap; got "zmq"/],
    ['--type llamacpp --model m.gguf --dialect nixl', /--dialect is for --type sim/],
    ['--type sim --side-channel-timeout-ms 0', /--side-channel-timeout-ms must be a whole number from 1/],
    ['--type sim --costs nonsense', /--costs must be JSON; got "nonsense"/],
    ['--type sim --costs []', /--costs must be a JSON object/],
    ['--type sim --costs {"step":1}', /--costs has no "step"; it has prefillFixed/],
    ['--type sim --costs {"stepFixed":-1}', /--costs.stepFixed must be milliseconds from 0 to 3600000; got -1/],
    ['--type sim --costs {"stepFixed":1e999}', /--costs.stepFixed/],
    ['--type sim --hots x', /unknown flag --hots/],
    ['--type sim extra', /unexpected argument "extra"/],
  ])('refuses %j', (line, says) => {
    const result = read(line);
    expect(result).toMatchObject({ kind: 'wrong', message: expect.stringMatching(says) });
  });
});
