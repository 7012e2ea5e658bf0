import { describe, expect, it } from 'vitest';
import { parseManifestFiles, parseManifests } from './manifest.ts';
import { formatManifestErrors, type ManifestError } from './manifest-error.ts';

const MINIMAL = `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata:
  name: chat
spec:
  model:
    name: tiny
  engine:
    type: sim
  decode:
    replicas: 2
`;

function deployment(text: string) {
  const result = parseManifests(text, 'f.yaml');
  if (!result.ok) throw new Error(formatManifestErrors(result.errors));
  expect(result.deployments).toHaveLength(1);
  return result.deployments[0];
}

function errors(text: string): ManifestError[] {
  const result = parseManifests(text, 'f.yaml');
  if (result.ok) throw new Error('the manifest was accepted');
  return result.errors;
}

function lines(text: string): string[] {
  return formatManifestErrors(errors(text)).split('\n');
}

describe('a sound manifest', () => {
  it('gets its defaults, in plain numbers', () => {
    expect(deployment(MINIMAL)).toEqual({
      apiVersion: 'serving.sluice.dev/v1alpha1',
      kind: 'ServingDeployment',
      metadata: { name: 'chat', namespace: 'default', labels: {}, annotations: {} },
      spec: {
        model: { name: 'tiny', source: 'builtin:tiny', revision: 'main' },
        engine: {
          type: 'sim',
          image: null,
          imagePullPolicy: null,
          dtype: null,
          transferBackend: null,
          args: [],
          env: {},
          contextTokens: 8_192,
          maxSequences: 16,
        },
        slo: null,
        prefill: null,
        decode: {
          replicas: 2,
          accelerator: null,
          parallelism: { tensor: 1 },
          resources: { requests: {}, limits: {} },
          costs: null,
          podOverrides: {
            labels: {},
            annotations: {},
            nodeSelector: {},
            tolerations: [],
            priorityClassName: null,
            serviceAccountName: null,
            imagePullSecrets: [],
          },
        },
        kv: {
          blockTokens: 16,
          hbmBytes: 268_435_456,
          hostBytes: 268_435_456,
          leaseMs: 30_000,
          tier: null,
          store: null,
          redis: null,
          nats: null,
        },
        router: {
          host: '127.0.0.1',
          port: 0,
          replicas: 1,
          service: { type: 'ClusterIP', port: 80 },
          limits: { inFlight: 2_048, queue: 1_024, queueTimeoutMs: 10_000, bodyBytes: 10_485_760 },
          deadlines: { prefillMs: 30_000, pullMs: 5_000, firstTokenMs: 60_000, idleMs: 30_000, totalMs: 600_000 },
          models: [],
          saltHeader: null,
        },
        rollout: { paused: false },
      },
    });
  });

  it('overlays the costs of a role on those of the engine; the rest is 0', () => {
    const text = MINIMAL.replace('type: sim', 'type: sim\n    sim: {costs: {stepFixed: 9, pullFixed: 1}}').replace(
      'replicas: 2',
      'replicas: 2\n    sim: {costs: {stepFixed: 7}}',
    );
    expect(deployment(text)?.spec.decode.costs).toMatchObject({ stepFixed: 7, pullFixed: 1, prefillPerToken: 0 });
  });

  it('turns targets, quantities and headers into what the code works with', () => {
    const more = `  slo: {ttft: {p50: 250ms, p99: 1m30s}, attainment: 0.9}
  kv: {hbm: {capacity: 1.5Gi}, host: {capacity: 1048576}}
  router: {saltHeader: X-Tenant-Id}
`;
    const spec = deployment(MINIMAL + more)?.spec;
    expect(spec?.slo).toEqual({
      ttftMs: { p50: 250, p95: null, p99: 90_000 },
      tpotMs: { p50: null, p95: null, p99: null },
      attainment: 0.9,
    });
    expect(spec?.kv).toMatchObject({ hbmBytes: 1_610_612_736, hostBytes: 1_048_576 });
    expect(spec?.router.saltHeader).toBe('x-tenant-id');
  });

  it('runs vLLM in the number format of the model, with blocks that its kernels for the place can work with', () => {
    const cpu = deployment(MINIMAL.replace('type: sim', 'type: vllm'))?.spec;
    expect(cpu).toMatchObject({ engine: { dtype: 'auto' }, kv: { blockTokens: 32 } });
    const gpu = MINIMAL.replace('type: sim', 'type: vllm\n    dtype: bfloat16').replace(
      'replicas: 2',
      'accelerator: nvidia-h100\n    parallelism: {tensor: 4}',
    );
    expect(deployment(gpu)?.spec).toMatchObject({
      engine: { dtype: 'bfloat16' },
      decode: { accelerator: 'nvidia-h100', parallelism: { tensor: 4 } },
      kv: { blockTokens: 16 },
    });
  });

  it('reads several documents and skips empty ones', () => {
    const result = parseManifests(`---\n${MINIMAL}---\n---\n${MINIMAL.replace('chat', 'code')}`, 'f.yaml');
    expect(result.ok && result.deployments.map(({ metadata }) => metadata.name)).toEqual(['chat', 'code']);
  });

  it('reads anchors and aliases', () => {
    const text = MINIMAL.replace('type: sim', 'type: sim\n    sim: {costs: &c {stepFixed: 9}}').replace(
      'replicas: 2',
      'replicas: 2\n    sim: {costs: *c}',
    );
    expect(deployment(text)?.spec.decode.costs?.stepFixed).toBe(9);
  });
});

describe('a wrong value', () => {
  it.each([
    ['replicas: 2', 'replicas: 0', 'f.yaml:11:5: spec.decode.replicas is 0: expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas: -1', 'f.yaml:11:5: spec.decode.replicas is -1: expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas: 1.5', 'f.yaml:11:5: spec.decode.replicas is 1.5: expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas: 1e300', 'f.yaml:11:5: spec.decode.replicas is 1e300: expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas: .nan', 'f.yaml:11:5: spec.decode.replicas is .nan: expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas: -.inf', 'f.yaml:11:5: spec.decode.replicas is -.inf: expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas: "2"', 'f.yaml:11:5: spec.decode.replicas is "2": expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas: [2]', 'f.yaml:11:5: spec.decode.replicas is a list: expected a whole number from 1 to 64 (instances)'],
    ['replicas: 2', 'replicas:', 'f.yaml:11:5: spec.decode.replicas is empty: expected a whole number from 1 to 64 (instances)'],
    ['type: sim', 'type: tgi', 'f.yaml:9:5: spec.engine.type is "tgi": expected one of llamacpp, sim, vllm, sglang'],
    [
      '    name: tiny',
      '    name: tiny\n    source: x.bin',
      'f.yaml:8:5: spec.model.source is "x.bin": expected builtin:tiny, or the path of a .gguf file',
    ],
    [
      '  decode:',
      '  kv: {lease: 5}\n  decode:',
      'spec.kv.lease is 5: expected a duration from 1s to 1h with its unit, such as 250ms, 2s or 1m30s',
    ],
    [
      '  decode:',
      '  kv: {hbm: {capacity: -5}}\n  decode:',
      'spec.kv.hbm.capacity is -5: expected a quantity of bytes from 1Mi to 1Ti, such as',
    ],
    ['  decode:', '  kv: {blockTokens: 12}\n  decode:', 'spec.kv.blockTokens is 12: expected one of 8, 16, 32, 64 (tokens)'],
    [
      'name: chat',
      'name: Chat_1',
      'f.yaml:4:3: metadata.name is "Chat_1": expected a name of at most 53 lower-case letters, digits and "-"',
    ],
    ['name: chat', 'name: chat\n  labels: {"a b": c}', 'metadata.labels["a b"] has a name that cannot be used: expected a key of the form'],
    [
      'replicas: 2',
      'accelerator: h100',
      'spec.decode.accelerator is "h100": expected the name of an NVIDIA accelerator, such as nvidia-h100',
    ],
    [
      'replicas: 2',
      'parallelism: {tensor: 65}',
      'spec.decode.parallelism.tensor is 65: expected a whole number from 1 to 64 (accelerators)',
    ],
    ['type: sim', 'type: vllm\n    dtype: int8', 'spec.engine.dtype is "int8": expected one of auto, bfloat16, float16, float32'],
    ['apiVersion: serving.sluice.dev/v1alpha1', 'apiVersion: v1', 'f.yaml:1:1: apiVersion is "v1": expected serving.sluice.dev/v1alpha1'],
    ['  decode:', '  router: {port: 70000}\n  decode:', 'spec.router.port is 70000: expected a whole number from 0 to 65535'],
    [
      '  decode:',
      '  router: {saltHeader: x-sluice-salt}\n  decode:',
      'spec.router.saltHeader is "x-sluice-salt": expected the name of an HTTP header',
    ],
  ])('%s → %s', (from, to, message) => {
    expect(lines(MINIMAL.replace(from, to)).find((line) => line.includes(message))).toBeDefined();
  });

  it('is told with path, value and expectation', () => {
    expect(errors(MINIMAL.replace('replicas: 2', 'replicas: 65'))).toEqual([
      {
        file: 'f.yaml',
        line: 11,
        column: 5,
        path: 'spec.decode.replicas',
        value: '65',
        expected: 'a whole number from 1 to 64 (instances)',
        message: 'spec.decode.replicas is 65: expected a whole number from 1 to 64 (instances)',
      },
    ]);
  });

  it('is told together with all the others, in the order of the file', () => {
    const text = MINIMAL.replace('replicas: 2', 'replicas: 0').replace('type: sim', 'type: x').replace('name: tiny', 'nmae: tiny');
    expect(lines(text).map((line) => line.split(' ')[0])).toEqual(['f.yaml:6:3:', 'f.yaml:7:5:', 'f.yaml:9:5:', 'f.yaml:11:5:']);
  });

  it('is cut when it is long', () => {
    expect(errors(MINIMAL.replace('name: chat', `name: ${'x'.repeat(5_000)}`))[0]?.value).toHaveLength(80);
  });

  it('of the relations between fields says what to do', () => {
    expect(lines(`${MINIMAL}  kv: {lease: 2s}\n`)).toEqual([
      'f.yaml:12:8: spec.kv.lease is "2s": expected at least 5s, which router.deadlines.pull allows a pull to take: raise it or lower that one',
    ]);
  });
});

describe('fields', () => {
  it('that are unknown name the nearest known one', () => {
    expect(lines(MINIMAL.replace('replicas: 2', 'replica: 2'))).toEqual([
      'f.yaml:11:5: spec.decode.replica: unknown field; did you mean "replicas"?',
    ]);
  });

  it('that are like no other list the known ones', () => {
    expect(lines(MINIMAL.replace('replicas: 2', 'frobnicate: 2'))).toEqual([
      'f.yaml:11:5: spec.decode.frobnicate: unknown field; known here: replicas, accelerator, parallelism, resources, sim, podOverrides',
    ]);
  });

  it('that are missing are told at the mapping that lacks them', () => {
    expect(lines(MINIMAL.replace('    name: tiny\n', '    revision: main\n'))).toEqual([
      'f.yaml:6:3: spec.model.name is missing: expected text of 1 to 256 characters without control characters',
    ]);
  });

  it('of Object.prototype are unknown too', () => {
    expect(lines(`${MINIMAL}__proto__: {a: 1}\nconstructor: 1\n`)).toHaveLength(2);
  });
});

describe('another kind of document', () => {
  it('is told once, not by each of its fields', () => {
    expect(lines('apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: 3, selector: {}}')).toEqual([
      'f.yaml:1:1: apiVersion is "apps/v1": expected serving.sluice.dev/v1alpha1',
      'f.yaml:2:1: kind is "Deployment": expected ServingDeployment',
    ]);
  });
});

describe('text that is no manifest', () => {
  it.each(['', '\n\n', '# nothing', '---\n---\n', 'null'])('%j is empty', (text) => {
    expect(lines(text)).toEqual(['f.yaml:1:1: the file is empty: expected at least one ServingDeployment']);
  });

  it.each([
    ['a: [1\nb: 2', 'f.yaml:2:1: not valid YAML'],
    ['a: 1\na: 2', 'f.yaml:2:1: not valid YAML: Map keys must be unique'],
    ['a: b: c', 'f.yaml:1:4: not valid YAML'],
    ['\tfoo: 1', 'f.yaml:1:1: not valid YAML: Tabs are not allowed as indentation'],
    ['a: !!js/function x', 'f.yaml:1:4: not valid YAML: Unresolved tag'],
    ['a: !!binary eA==', 'f.yaml:1:4: not valid YAML: Unresolved tag'],
    ['? [a]\n: b', 'f.yaml:1:3: not valid YAML: With stringKeys, all keys must be strings'],
    ['x: *nope', 'f.yaml:1:1: the file cannot be expanded: Unresolved alias'],
    ['42', 'f.yaml:1:1: the document is 42: expected a mapping of fields'],
    ['- a', 'f.yaml:1:1: the document is a list: expected a mapping of fields'],
    ['\u0000', 'f.yaml:1:1: the document is "\\u0000": expected a mapping of fields'],
  ])('%j', (text, message) => expect(lines(text)[0]).toContain(message));

  it('an alias bomb is not expanded', () => {
    const level = (name: string, of: string) => `${name}: &${name} [${Array(9).fill(of).join(',')}]\n`;
    const bomb = level('a', 'x') + level('b', '*a') + level('c', '*b') + level('d', '*c') + level('e', '*d');
    expect(lines(bomb)).toEqual(['f.yaml:1:1: the file cannot be expanded: Excessive alias count indicates a resource exhaustion attack']);
  });

  it('an alias to itself ends', () => expect(lines(`${MINIMAL}x: &a [*a]`)[0]).toContain('x: unknown field'));

  it('bottomless nesting ends in an error', () => expect(lines('['.repeat(50_000)).length).toBeLessThan(5));

  it('a huge file is refused unread', () => {
    expect(lines(`# ${'x'.repeat(2 ** 20)}`)).toEqual(['f.yaml:1:1: the file has 1048578 characters: expected at most 1048576 characters']);
  });

  it('a file of very many documents is refused', () => {
    expect(lines('---\n'.repeat(101))).toEqual(['f.yaml:1:1: the file has 101 documents: expected at most 100 documents; split it']);
  });
});

describe('one name for two deployments', () => {
  it('names both lines', () => {
    expect(lines(`${MINIMAL}---\n${MINIMAL}`)).toEqual([
      'f.yaml:16:3: metadata.name: two deployments are named "chat": here (line 16) and at f.yaml:4; rename one',
    ]);
  });

  it('is found across files', () => {
    const result = parseManifestFiles([
      { fileName: 'a.yaml', text: MINIMAL },
      { fileName: 'b.yaml', text: MINIMAL },
    ]);
    expect(!result.ok && formatManifestErrors(result.errors)).toContain('b.yaml:4:3: metadata.name: two deployments are named "chat"');
  });

  it('is allowed in two namespaces', () => {
    expect(parseManifests(`${MINIMAL}---\n${MINIMAL.replace('name: chat', 'name: chat\n  namespace: other')}`, 'f.yaml').ok).toBe(true);
  });
});
