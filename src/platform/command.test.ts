import { describe, expect, it } from 'vitest';
import { engineArguments, routerArguments } from './command.ts';
import type { InstanceSpec } from './port.ts';
import { instanceSpec } from './spec.fixture.ts';

const SPEC = instanceSpec({ role: 'prefill', engine: 'llamacpp', leaseMs: 30, args: ['--more'] });

const HERE = { host: '127.0.0.1', port: 0 };

describe('engineArguments', () => {
  it('gives weights to a real engine and declared costs to a simulated one', () => {
    const real = engineArguments('prefill-0', HERE, SPEC, '/weights.gguf').join(' ');
    expect(real).toMatch(/^engine --type llamacpp --role prefill --instance prefill-0 --model-name m --host 127\.0\.0\.1 --port 0 /);
    expect(real).toMatch(/--model \/weights\.gguf --drain-ms 30 --more$/);
    const simulated = engineArguments('prefill-0', HERE, { ...SPEC, engine: 'sim', costs: '{"stepFixed":1}' }, '').join(' ');
    expect(simulated).not.toContain('--model ');
    expect(simulated).toContain('--costs {"stepFixed":1}');
  });
});

describe('engineArguments for vllm', () => {
  it("keeps the user's arguments apart, since they are those of another program", () => {
    const spec: InstanceSpec = {
      ...SPEC,
      engine: 'vllm',
      dtype: 'float32',
      accelerator: 'nvidia-h100',
      tensorParallel: 2,
      args: ['--seed', '7'],
    };
    const line = engineArguments('decode-0', HERE, spec, '/models/m').join(' ');
    expect(line).toMatch(
      /^engine --type vllm .*--model \/models\/m --revision main --drain-ms 30 --dtype float32 --accelerator nvidia-h100 /,
    );
    expect(line).toMatch(/ --tensor-parallel 2 --engine-arg=--seed --engine-arg=7$/);
    const onCpu = engineArguments('decode-0', HERE, { ...spec, accelerator: null, dtype: null, args: [] }, 'org/name').join(' ');
    expect(onCpu).not.toMatch(/accelerator|dtype|engine-arg/);
  });
});

describe('routerArguments', () => {
  it('takes the addresses that it is told, not those of the spec', () => {
    const AT = { host: 'a', port: 8123, adminHost: 'b', adminPort: 8124 };
    const words = routerArguments({ host: 'h', port: 0, image: null, modelName: 'm', config: '{}', graceMs: 9 }, AT);
    expect(words.join(' ')).toBe('router --host a --port 8123 --admin-host b --admin-port 8124 --model m --grace-ms 9 --config {}');
  });
});
