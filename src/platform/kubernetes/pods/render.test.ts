import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { engineArguments, routerArguments } from '../../command.ts';
import type { InstanceSpec, RouterSpec, Step } from '../../port.ts';
import { instanceSpec, NO_OVERRIDES } from '../../spec.fixture.ts';
import type { Pod } from '../builtin.ts';
import type { Draft } from '../object.ts';
import { instancePod, type PodOwner, routerPod } from './render.ts';

const OWNER: PodOwner = {
  namespace: 'team',
  deployment: 'chat',
  reference: { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingPool', name: 'chat-decode', uid: 'u-1' },
};
const SIM = instanceSpec({
  modelName: 'simulated',
  hbmBytes: 2 ** 28,
  hostBytes: 2 ** 28,
  leaseMs: 30_000,
  costs: '{"stepFixed":10}',
  pod: { image: 'example.com/sluice:1', imagePullPolicy: null, requests: {}, limits: {}, overrides: NO_OVERRIDES },
});
const LLAMACPP: InstanceSpec = {
  ...SIM,
  engine: 'llamacpp',
  modelName: 'tiny',
  costs: null,
  args: ['--drain-ms', '90000'],
  pod: {
    image: 'example.com/sluice:1',
    imagePullPolicy: 'IfNotPresent',
    requests: { cpu: '1' },
    limits: { memory: '2Gi' },
    overrides: NO_OVERRIDES,
  },
};
const VLLM: InstanceSpec = {
  ...SIM,
  role: 'prefill',
  engine: 'vllm',
  modelName: 'qwen3-8b',
  modelSource: 'Qwen/Qwen3-8B',
  dtype: 'bfloat16',
  accelerator: 'nvidia-h100',
  tensorParallel: 2,
  costs: null,
  args: ['--max-num-batched-tokens=2048'],
  env: { HF_HUB_OFFLINE: '1', PRICE: '$(cost) and $5' },
  pod: {
    image: 'example.com/vllm-sluice:1',
    imagePullPolicy: null,
    requests: { memory: '64Gi' },
    limits: {},
    overrides: {
      labels: { team: 'chat' },
      annotations: { 'example.com/cost': 'high' },
      nodeSelector: { 'nvidia.com/gpu.product': 'NVIDIA-H100-80GB-HBM3' },
      tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', value: undefined, effect: 'NoSchedule' }],
      priorityClassName: 'serving',
      serviceAccountName: 'models',
      imagePullSecrets: ['registry'],
    },
  },
};
const SGLANG: InstanceSpec = { ...VLLM, engine: 'sglang', transferBackend: 'nixl', args: ['--mem-fraction-static=0.85'] };
const ROUTER: RouterSpec = {
  host: '127.0.0.1',
  port: 0,
  image: 'example.com/sluice:1',
  modelName: 'tiny',
  config: '{"limits":{"inFlight":8}}',
  graceMs: 600_000,
};

const start = (name: string, spec: InstanceSpec): Step & { type: 'startInstance' } => {
  return { type: 'startInstance', name, spec, revision: 'rev1', family: 'fam1', reason: 'a test' };
};
const routerStep: Step & { type: 'startRouter' } = {
  type: 'startRouter',
  name: 'router-0',
  spec: ROUTER,
  revision: 'rev2',
  reason: 'a test',
};

/** `SLUICE_UPDATE_GOLDEN=1` writes what is; look at the difference before it is committed. */
function golden(name: string, pod: Draft<Pod>): void {
  const file = new URL(`./fixtures/${name}.json`, import.meta.url);
  if (process.env['SLUICE_UPDATE_GOLDEN'] === '1') writeFileSync(file, `${JSON.stringify(pod, null, 2)}\n`);
  expect(pod).toEqual(JSON.parse(readFileSync(file, 'utf8')));
}

function withoutAddress(words: readonly string[]): string[] {
  return words.map((word) => (word === '$(POD_IP)' ? '<host>' : word.replaceAll('$$', '$')));
}

describe('the pod of an instance', () => {
  it.each([
    ['sim', start('decode-1', SIM)],
    ['llamacpp', start('decode-1', LLAMACPP)],
    ['vllm', start('prefill-0', VLLM)],
    ['sglang', start('prefill-0', SGLANG)],
  ])('of %s is as the golden file says', (name, step) => golden(name, instancePod(OWNER, step)));

  it.each([
    ['sim', SIM],
    ['llamacpp', LLAMACPP],
    ['vllm', VLLM],
    ['sglang', SGLANG],
  ])('starts %s with the arguments that a process gets', (_, spec) => {
    const [container] = instancePod(OWNER, start('decode-1', spec)).spec?.containers ?? [];
    const args = engineArguments('decode-1', { host: '<host>', port: 8000 }, spec, spec.modelSource);
    expect(withoutAddress(container?.args ?? [])).toEqual(args);
  });

  it('mounts a folder for a store on disk, and takes the password of one in Redis from its Secret', () => {
    const onDisk = instancePod(OWNER, start('decode-1', { ...SIM, store: '{"path":"/kv"}', storePath: '/kv' })).spec;
    expect(onDisk?.containers[0]?.args?.join(' ')).toContain('--store {"path":"/kv"}');
    expect(onDisk?.containers[0]?.volumeMounts).toContainEqual({ name: 'kv-store', mountPath: '/kv' });
    expect(onDisk?.volumes).toContainEqual({ name: 'kv-store', emptyDir: {} });
    const inRedis = instancePod(
      OWNER,
      start('decode-1', { ...SIM, store: '{"url":"redis://r"}', storeSecret: { name: 's', key: 'k' } }),
    ).spec;
    expect(inRedis?.containers[0]?.env).toContainEqual({
      name: 'SLUICE_STORE_PASSWORD',
      valueFrom: { secretKeyRef: { name: 's', key: 'k', optional: false } },
    });
    expect(inRedis?.volumes?.map(({ name }) => name)).not.toContain('kv-store');
  });

  it("takes a user's words as they are, however like a variable of Kubernetes they look", () => {
    const [container] = instancePod(OWNER, start('prefill-0', VLLM)).spec?.containers ?? [];
    expect(container?.env).toContainEqual({ name: 'PRICE', value: '$$(cost) and $$5' });
  });

  it('finds Secrets in folders, which the arguments name', () => {
    const secrets = [{ volume: 'kv-redis', secret: 's', folder: '/etc/sluice/kv/redis' }];
    const kv = { settings: '{"redis":{"credentials":{"folder":"/etc/sluice/kv/redis"}}}', secrets };
    const pods = [
      instancePod(OWNER, start('decode-1', { ...SIM, kv })),
      routerPod(OWNER, { ...routerStep, spec: { ...routerStep.spec, kv } }),
    ];
    for (const { spec } of pods) {
      expect(spec?.volumes).toContainEqual({ name: 'kv-redis', secret: { secretName: 's' } });
      expect(spec?.containers[0]?.volumeMounts).toContainEqual({ name: 'kv-redis', mountPath: '/etc/sluice/kv/redis', readOnly: true });
      expect(spec?.containers[0]?.args).toContain(kv.settings);
    }
  });

  it('asks for no accelerator of its own when the resources name one', () => {
    const pod = {
      ...SIM.pod,
      image: 'i',
      imagePullPolicy: null,
      requests: {},
      limits: { 'nvidia.com/mig-3g.40gb': '1' },
      overrides: NO_OVERRIDES,
    };
    const [container] = instancePod(OWNER, start('prefill-0', { ...VLLM, pod })).spec?.containers ?? [];
    expect(container?.resources).toEqual({ limits: { 'nvidia.com/mig-3g.40gb': '1' } });
  });

  it('is refused for a spec that was made for processes', () => {
    expect(() => instancePod(OWNER, start('decode-1', { ...SIM, pod: null }))).toThrow(/says nothing about its pod/);
  });
});

describe('the pod of a router', () => {
  it('is as the golden file says', () => golden('router', routerPod(OWNER, routerStep)));

  it('starts it with the arguments that a process gets', () => {
    const [container] = routerPod(OWNER, routerStep).spec?.containers ?? [];
    const at = { host: '::', port: 8080, adminHost: '<host>', adminPort: 8081 };
    expect(withoutAddress(container?.args ?? [])).toEqual(routerArguments(ROUTER, at));
  });
});
