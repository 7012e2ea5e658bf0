import { describe, expect, it } from 'vitest';
import { parseManifestFiles, parseManifests } from './manifest.ts';
import { formatManifestErrors } from './manifest-error.ts';
import { readTier } from './resource.ts';

const HEAD = 'apiVersion: serving.sluice.dev/v1alpha1\n';
const tier = (name: string, spec: string, namespace = 'default') =>
  `${HEAD}kind: KVTier\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
const deployment = (name: string, kv: string, engine = 'sim') =>
  `${HEAD}kind: ServingDeployment\nmetadata: {name: ${name}}\nspec: {model: {name: m}, engine: {type: ${engine}}, decode: {}, kv: ${kv}}\n`;
const USES = '{tierRef: {name: shared}}';
const ALL =
  '{redis: {urls: ["redis://r"], budget: 9ms}, nats: {urls: ["nats://n"]}, store: {redis: {url: "redis://s"}, capacity: 2Gi, scope: Model}}';

function read(...texts: readonly string[]) {
  const result = parseManifests(texts.join('---\n'), 'f.yaml');
  if (!result.ok) throw new Error(formatManifestErrors(result.errors));
  return result;
}

function refused(...texts: readonly string[]): string {
  const result = parseManifests(texts.join('---\n'), 'f.yaml');
  if (result.ok) throw new Error('it was accepted');
  return formatManifestErrors(result.errors);
}

describe('a deployment that names a tier of its file', () => {
  it('has what the tier has, as if it stood in its own kv', () => {
    const [named] = read(tier('shared', ALL), deployment('a', USES)).deployments;
    const own =
      '{redis: {urls: ["redis://r"], budget: 9ms}, nats: {urls: ["nats://n"]}, store: {redis: {url: "redis://s"}, capacity: 2Gi}}';
    const [written] = read(deployment('a', own)).deployments;
    const { tier: name, store, ...rest } = named?.spec.kv ?? {};
    const { tier: none, store: ownStore, ...ownRest } = written?.spec.kv ?? {};
    expect([name, none]).toEqual(['shared', null]);
    expect(rest).toEqual(ownRest);
    expect(store).toEqual({ ...ownStore, tier: { name: 'shared', scope: 'Model' } });
  });

  it('keeps its own other fields, and has no store with engines that keep their KV themselves', () => {
    const others = [
      deployment('b', USES, 'vllm'),
      deployment('c', USES, 'sglang')
        .replace('{name: m}', '{name: m, source: org/m}')
        .replace('decode: {}', 'decode: {accelerator: nvidia-h100}'),
    ];
    const [a, b, c] = read(tier('shared', ALL), deployment('a', '{tierRef: {name: shared}, lease: 40s}'), ...others).deployments;
    expect(c?.spec.kv.store).toBeNull();
    expect(a?.spec.kv).toMatchObject({ leaseMs: 40_000, store: { capacityBytes: 2 ** 31 } });
    expect(b?.spec.kv).toMatchObject({ redis: { urls: ['redis://r'] }, nats: { urls: ['nats://n'] }, store: null });
  });

  it('is the same whatever the order, and the tier may be in another file', () => {
    const texts = [tier('shared', ALL), deployment('a', USES)];
    const files = texts.map((text, index) => ({ fileName: `${index}.yaml`, text }));
    const apart = parseManifestFiles(files);
    expect(apart).toMatchObject({ ok: true, deployments: read(...texts.toReversed()).deployments, tiers: [{ tier: { name: 'shared' } }] });
  });

  it('is told where the name is wrong, and which there are', () => {
    expect(refused(deployment('a', USES))).toMatch(
      /^f\.yaml:4:\d+: spec\.kv\.tierRef\.name is "shared": expected the name of a KVTier of namespace default in these files, which hold none; add it/,
    );
    expect(refused(tier('other', ALL), deployment('a', USES))).toContain('in these files: other;');
    expect(refused(tier('shared', ALL, 'team'), deployment('a', USES))).toContain('which hold none');
  });

  it('is not told that the tier is missing when the mistake is in the tier', () => {
    expect(refused(tier('shared', '{redis: {url: "redis://r"}}'), deployment('a', USES))).not.toContain('tierRef');
  });

  it('may be read alone where a cluster has the tier', () => {
    const result = parseManifestFiles([{ fileName: 'f.yaml', text: deployment('a', USES) }], { restElsewhere: true });
    expect(result).toMatchObject({ ok: true, deployments: [{ spec: { kv: { tier: 'shared', redis: null, nats: null, store: null } } }] });
  });
});

describe('a file with tiers', () => {
  it('says what is wrong with one, with its own fields', () => {
    expect(refused(tier('a', '{redis: {url: "redis://r"}}'))).toMatch(/spec\.redis\.url: unknown field; did you mean "urls"\?/);
    expect(refused(tier('a', '{}'))).toContain('at least one of redis, nats and store');
  });

  it('runs nothing by itself', () => {
    expect(refused(tier('a', ALL))).toBe(
      'f.yaml:3:12: there are only KVTiers, which run nothing by themselves: expected at least one ServingDeployment that names one in spec.kv.tierRef',
    );
  });

  it('has each name once, and may have a deployment of the name', () => {
    expect(refused(tier('a', ALL), tier('a', ALL), deployment('d', '{}'))).toContain('two KVTiers are named "a"');
    expect(read(tier('a', ALL), deployment('a', '{}')).tiers).toHaveLength(1);
  });
});

it('a tier of a kube-apiserver is read as one of a file, or refused with what is wrong', () => {
  const object = (spec: object) => ({
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'KVTier',
    metadata: { name: 'shared', namespace: 'team', uid: 'u', generation: 2 },
    spec,
    status: {},
  });
  const stored = readTier(object({ store: { directory: { path: '/kv' } } }));
  expect(stored).toMatchObject({
    ok: true,
    tier: { name: 'shared', namespace: 'team', servers: { redis: null, store: { tier: { scope: 'Deployment' } } } },
  });
  expect(readTier(object({ store: { directory: { path: 'kv' } }, later: 1 }))).toEqual({
    ok: false,
    errors: [
      expect.stringMatching(/^spec\.store\.directory\.path: expected an absolute path/),
      'spec.later: expected one of the fields redis, nats, store',
    ],
  });
});
