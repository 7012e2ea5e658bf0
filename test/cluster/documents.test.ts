/** Commands of the documents that need a cluster, as they stand there, in the order in which a user runs them. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../documents/commands.ts';
import { runDocumented, type Said } from '../documents/shell.ts';
import { readKubeconfig, writeKubeconfig } from './admin.ts';
import { startCluster, type TestCluster } from './apiserver.ts';
import { until } from './bed.ts';
import { findProgram } from './binaries.ts';
import { OperatorBed, SLOW_MS } from './operatorbed.ts';

const kubectl = findProgram('kubectl', process.env);
const SIM = `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: { name: chat }
spec: { model: { name: simulated }, engine: { type: sim }, decode: { replicas: 1 } }
`;
const WIDER = SIM.replace('type: sim', 'type: sim, maxSequences: 8');

// Tier 2 has kubectl; tier 1 has it where it was built before.
describe.runIf(kubectl !== null)('the documents', { timeout: 400_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-documents-'));
  let cluster: TestCluster;
  let bed: OperatorBed;
  beforeAll(async () => {
    cluster = await startCluster();
    for (const name of ['crds', 'manifests', 'charts']) symlinkSync(`${ROOT}${name}`, join(folder, name));
    mkdirSync(join(folder, '.kube'));
  }, 240_000);
  afterAll(async () => {
    await bed?.close();
    await cluster.stop();
    rmSync(folder, { recursive: true });
  });

  function run(
    command: string,
    options: { readonly names?: Readonly<Record<string, string>>; readonly until?: RegExp } = {},
  ): Promise<Said> {
    const env = { HOME: folder, KUBECONFIG: join(folder, '.kube/config'), EDITOR: join(folder, 'editor') };
    return runDocumented(command, { folder, env, ...(kubectl === null ? {} : { kubectl }) }, options);
  }

  async function ok(command: string, names: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, out, err } = await run(command, { names });
    expect(code, `${command}: ${err}${out}`).toBe(0);
    return out;
  }

  it('install', async () => {
    cpSync(cluster.kubeconfig, join(folder, '.kube/config'));
    expect(await ok('kubectl apply --server-side -f crds/')).toContain('servingdeployments.serving.sluice.dev serverside-applied');
    await ok('kubectl apply --server-side -f manifests/install.yaml');
    bed = await OperatorBed.open(cluster.kubeconfig, 'documents');
    writeKubeconfig(join(folder, '.kube/config'), { ...readKubeconfig(cluster.kubeconfig), namespace: bed.namespace });
    const operator = await run('npm run sluice -- operator --kubeconfig ~/.kube/config --image registry.example.com/sluice:0.1.0', {
      until: /rounds begin/,
    });
    expect(operator.err).toContain('rounds begin');
    // No controller makes the pods of the Deployment here.
    expect(await ok('kubectl get pods -A -l app.kubernetes.io/component=operator')).toBe('');
    await bed.operate();
  });

  it('run the first model', async () => {
    expect(await ok('kubectl apply -f manifests/samples/llama-cpp-cpu.yaml')).toContain('llama-cpp-cpu created');
    await bed.settled('llama-cpp-cpu', 2 * SLOW_MS);
    const watched = await run('kubectl get sd -w', { until: /llama-cpp-cpu +tiny +1\/1 +2\/2 +True +http/ });
    expect(watched.out).toMatch(/NAME +MODEL +PREFILL +DECODE +READY +URL +AGE/);
    expect((await run('kubectl get sd -A -w', { until: /llama-cpp-cpu/ })).out).toContain(bed.namespace);
    expect(await ok('kubectl describe sd llama-cpp-cpu')).toMatch(/Reason: +Serving/);
    await ok('kubectl scale servingpool llama-cpp-cpu-decode --replicas=3');
    await until(
      async () => (await bed.podNames('llama-cpp-cpu', 'decode')).length === 3,
      () => bed.log(),
      SLOW_MS,
    );
    await bed.remove('llama-cpp-cpu');
  });

  it('have several models and an autoscaler', async () => {
    const models = await ok('kubectl apply -f manifests/samples/kubernetes/several-models.yaml');
    expect(models).toMatch(/models created[\s\S]*simulated-8b created/);
    expect(await ok('kubectl apply -f manifests/samples/kubernetes/autoscaled.yaml')).toContain(
      'horizontalpodautoscaler.autoscaling/autoscaled-decode created',
    );
    for (const name of ['models', 'simulated-8b', 'autoscaled']) await bed.remove(name);
  });

  it('change it and go back', async () => {
    writeFileSync(join(folder, 'chat.yaml'), SIM);
    expect(await run('sluice rollout diff -f chat.yaml')).toMatchObject({ code: 1, out: expect.stringContaining('is not there yet') });
    await ok('kubectl apply -f chat.yaml');
    await ok('sluice rollout status chat');
    await ok('kubectl wait --for=condition=Ready sd/chat');
    writeFileSync(join(folder, 'chat.yaml'), WIDER);
    const diff = await run('sluice rollout diff -f chat.yaml');
    expect([diff.code, diff.out]).toEqual([1, expect.stringContaining('because of spec.engine.maxSequences')]);
    await ok('sluice rollout pause chat');
    expect(await ok('kubectl apply -f chat.yaml')).toContain('chat configured');
    await until(
      async () => (await bed.condition('chat', 'Reconciling'))?.reason === 'Paused',
      () => bed.log(),
      SLOW_MS,
    );
    await ok('sluice rollout resume chat');
    expect(await ok('sluice rollout status NAME', { NAME: 'chat' })).toMatch(/chat: done\n$/);
    expect(await ok('sluice rollout history chat')).toMatch(/2 .* \* +spec\.engine\.maxSequences/);
    expect(await ok('sluice rollout undo chat')).toContain('goes back to revision 1');
    await ok('sluice rollout status chat');
    await ok('sluice rollout undo NAME', { NAME: 'chat' });
    await ok('sluice rollout pause chat');
    await ok('sluice rollout resume NAME', { NAME: 'chat' });
  });

  it('find out what is wrong', async () => {
    writeFileSync(join(folder, 'editor'), '#!/bin/sh\nsed -i "s/maxSequences: .*/maxSequences: 4/" "$1"\n');
    chmodSync(join(folder, 'editor'), 0o755);
    await ok('kubectl edit sd NAME', { NAME: 'chat' });
    expect((await bed.deployment('chat')).spec).toMatchObject({ engine: { maxSequences: 4 } });
    await bed.settled('chat');
    expect(await ok('kubectl describe sd NAME', { NAME: 'chat' })).toMatch(/Type: +Reconciling/);
    expect(await ok('kubectl get sd -o wide')).toMatch(/REASON +REVISION/);
  });

  it('pin a system prompt', async () => {
    expect(await ok('kubectl apply -f manifests/samples/pinned-context.yaml')).toMatch(/support created[\s\S]*support-prompt created/);
    await bed.settled('support', 2 * SLOW_MS);
    await until(
      async () => / 1\/1 /.test(await ok('kubectl get pctx')),
      () => bed.log(),
      SLOW_MS,
    );
    expect(await ok('kubectl get pctx')).toMatch(
      /NAME +DEPLOYMENT +RESIDENT +TOKENS +BYTES +SHARE +READY +AGE\nsupport-prompt +support +1\/1 +\d+ +\d+ +\d+\.\d% +True/,
    );
    expect(await ok('kubectl describe pctx NAME', { NAME: 'support-prompt' })).toMatch(
      /Instance: +prefill-0[\s\S]*Reason: +Resident|Reason: +Resident[\s\S]*Instance: +prefill-0/,
    );
    await bed.remove('support');
  });

  it('share servers', async () => {
    expect(await ok('kubectl apply -f manifests/samples/kvtier.yaml')).toMatch(
      /shared created[\s\S]*assistant created[\s\S]*batch created/,
    );
    await until(
      async () => / 0\/2 /.test(await ok('kubectl get kvtier')),
      () => bed.log(),
      SLOW_MS,
    );
    expect(await ok('kubectl get kvtier')).toMatch(
      /NAME +REDIS +NATS +STORE +USERS +READY +AGE\nshared +redis:\S+ +nats:\S+ +redis:\S+, 4Gi per model +0\/2 +False/,
    );
    writeFileSync(join(folder, 'editor'), '#!/bin/sh\nsed -i "s/scope: Model/scope: Deployment/" "$1"\n');
    expect(await ok('kubectl edit kvtier NAME', { NAME: 'shared' })).toContain('edited');
    expect(await ok('kubectl describe kvtier NAME', { NAME: 'shared' })).toMatch(/Name: +batch/);
    await ok('kubectl apply -f FILE', { FILE: 'manifests/samples/kvtier.yaml' });
    for (const name of ['assistant', 'batch']) await bed.remove(name);
  });
});
