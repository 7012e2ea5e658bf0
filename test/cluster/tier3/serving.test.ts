/** Chart, image, operator, routers and real engines on a real node, as a user has them. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Admin } from '../admin.ts';
import { until } from '../bed.ts';
import { requireProgram } from '../binaries.ts';
import { Release, SYSTEM } from './release.ts';
import { sample, Tenant } from './tenant.ts';

describe('on a real node', () => {
  const { kubeconfig } = inject('node');
  const admin = new Admin(kubeconfig);
  const name = 'llama-cpp-cpu';
  let release: Release;
  let tenant: Tenant;
  beforeAll(async () => {
    release = await Release.install(admin, kubeconfig, ['test.engine=llamacpp']);
    tenant = await Tenant.open(admin, kubeconfig);
  });
  afterAll(async () => {
    await tenant?.close();
    await release?.close();
  });

  it('the namespace of the operator admits it, and no pod with more rights', async () => {
    const spec = { containers: [{ name: 'c', image: 'i' }] };
    const loose = await admin.request('POST', `/api/v1/namespaces/${SYSTEM}/pods`, { body: { metadata: { name: 'loose' }, spec } });
    expect([loose.status, loose.body]).toEqual([403, expect.stringContaining('violates PodSecurity')]);
  });

  it('the sample with a real engine becomes ready, and answers through its Service', async () => {
    await tenant.apply(name, sample(name));
    const { status } = await tenant.settled(name);
    expect(status?.url).toContain(`${name}.${tenant.namespace}`);
    const roles = (await tenant.pods(name)).map(({ metadata }) => metadata.labels?.['app.kubernetes.io/component'] ?? '');
    expect(roles.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(['decode', 'decode', 'prefill', 'router', 'router']);
    const { text } = await tenant.ask(name, { model: 'tiny', prompt: 'Why is the sky blue?', tokens: 16 });
    expect(text.length).toBeGreaterThan(0);
  });

  it('a long prompt is computed by the prefill pod and handed over to a decode pod, over the network of the pods', async () => {
    const prompt = 'All work and no play makes Jack a dull boy. '.repeat(40);
    const { id } = await tenant.ask(name, { model: 'tiny', prompt, tokens: 32 });
    const record = await tenant.record(name, id);
    expect(record?.outcome).toBe('ok');
    const [attempt] = record?.attempts ?? [];
    expect(attempt?.decision.chosen).toMatchObject({ prefill: 'prefill-0', decode: expect.stringMatching(/^decode-\d$/) });
    expect(attempt?.decode?.report?.handOff).toMatchObject({ failed: null });
    expect(attempt?.decode?.report?.handOff?.blocks).toBeGreaterThan(0);
  });

  it('kubectl port-forward reaches a router, as the documentation says', async () => {
    const words = ['--kubeconfig', kubeconfig, '-n', tenant.namespace, 'port-forward', `service/${name}`, ':80'];
    const forward = spawn(requireProgram('kubectl', process.env), words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    const hear = (text: string) => {
      said += text;
    };
    for (const stream of [forward.stdout, forward.stderr]) stream.setEncoding('utf8').on('data', hear);
    const port = () => /^Forwarding from 127\.0\.0\.1:(\d+)/m.exec(said)?.[1];
    try {
      await until(
        () => port() !== undefined,
        () => said,
      );
      const response = await fetch(`http://127.0.0.1:${port()}/v1/models`).catch((error: unknown) => String(error));
      expect(response, said).toMatchObject({ status: 200 });
    } finally {
      forward.kill('SIGKILL');
    }
  });

  it('helm test gets an answer from a real engine', async () => {
    const said = await release.helm.demand('test', 'sluice', '-n', SYSTEM, '--timeout', '5m');
    expect(said).toMatch(/Phase: +Succeeded/);
  });
});
