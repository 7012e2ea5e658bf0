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
        drainMs: 30_000,
        costs: {},
      },
    });
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
  });

  it('helps', () => {
    expect(read('--help')).toEqual({ kind: 'help' });
    expect(read('-h')).toEqual({ kind: 'help' });
  });

  it.each([
    ['', /--type must be one of llamacpp, sim; it is missing/],
    ['--type vllm', /--type .*got "vllm"/],
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
    ['--type sim --model m.gguf', /--model is for --type llamacpp/],
    ['--type llamacpp --model m.gguf --costs {}', /--costs is for --type sim/],
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
