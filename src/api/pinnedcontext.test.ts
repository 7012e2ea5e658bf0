import { describe, expect, it } from 'vitest';
import { parseManifestFiles, parseManifests } from './manifest.ts';
import { formatManifestErrors } from './manifest-error.ts';
import { readPinned } from './resource.ts';

const HEAD = 'apiVersion: serving.sluice.dev/v1alpha1\n';
const context = (name: string, spec: string, namespace = 'default') =>
  `${HEAD}kind: PinnedContext\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
const deployment = (name: string) =>
  `${HEAD}kind: ServingDeployment\nmetadata: {name: ${name}}\nspec: {model: {name: m}, engine: {type: sim}, decode: {}}\n`;

function refused(...documents: readonly string[]): string {
  const result = parseManifests(documents.join('---\n'), 'f.yaml');
  return result.ok ? 'accepted' : formatManifestErrors(result.errors);
}

describe('a file with PinnedContexts', () => {
  it('has them beside its deployments, with their defaults', () => {
    const result = parseManifests(
      [
        context('handbook', '{deploymentRef: {name: chat}, text: "Chapter 1"}'),
        deployment('chat'),
        context('prompt', '{deploymentRef: {name: chat}, messages: [{role: system, content: Be kind.}], tenant: t, replicas: 3}'),
      ].join('---\n'),
      'f.yaml',
    );
    expect(result).toMatchObject({
      ok: true,
      deployments: [{ metadata: { name: 'chat' } }],
      contexts: [
        {
          name: 'handbook',
          namespace: 'default',
          deployment: 'chat',
          content: { kind: 'text', text: 'Chapter 1' },
          tenant: '',
          tier: 'host',
          replicas: 1,
        },
        { name: 'prompt', content: { kind: 'chat', messages: [{ role: 'system', content: 'Be kind.' }] }, tenant: 't', replicas: 3 },
      ],
    });
  });

  it('is refused when a deployment is not in the files, unless a cluster has it', () => {
    const lost = context('a', '{deploymentRef: {name: chta}, text: x}');
    expect(refused(lost, deployment('chat'))).toMatch(
      /^f\.yaml:4:\d+: spec\.deploymentRef\.name is "chta": expected the name of a ServingDeployment of namespace default in these files: chat; add it/,
    );
    expect(refused(lost)).toContain('in these files, which hold none;');
    expect(refused(context('a', '{deploymentRef: {name: chat}, text: x}', 'team'), deployment('chat'))).toContain('which hold none');
    expect(parseManifestFiles([{ fileName: 'f.yaml', text: lost }], { restElsewhere: true })).toMatchObject({ ok: true, contexts: [{}] });
  });

  it('is refused when two have one name, and not when kinds share one', () => {
    const one = context('chat', '{deploymentRef: {name: chat}, text: x}');
    expect(refused(one, one, deployment('chat'))).toContain('two PinnedContexts are named "chat"');
    expect(refused(one, deployment('chat'))).toBe('accepted');
  });
});

it('a context of a kube-apiserver is read as one of a file, or refused with what is wrong', () => {
  const metadata = { name: 'a', namespace: 'team', uid: 'u', resourceVersion: '1', generation: 4 };
  const object = { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'PinnedContext', metadata };
  expect(readPinned({ ...object, spec: { deploymentRef: { name: 'chat' }, text: 'x' }, status: {} })).toMatchObject({
    ok: true,
    context: { name: 'a', namespace: 'team', deployment: 'chat' },
  });
  expect(readPinned({ ...object, spec: { deploymentRef: { name: 'chat' } } })).toMatchObject({
    ok: false,
    errors: [expect.stringContaining('one of text and messages')],
  });
});
