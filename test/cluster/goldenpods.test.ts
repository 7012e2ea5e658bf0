/** The golden pods of every engine and of the router in a real API server: valid, and admitted where only restricted pods are. */
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { Admin } from './admin.ts';

const FOLDER = new URL('../../src/platform/kubernetes/pods/fixtures/', import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

let admin: Admin;
let namespace = '';
beforeAll(async () => {
  admin = new Admin(inject('kubeconfig'));
  namespace = await admin.namespace('golden');
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  const contentType = 'application/merge-patch+json';
  await admin.demand('PATCH', `/api/v1/namespaces/${namespace}`, { body: { metadata: { labels } }, contentType });
  // One of the pods asks for it.
  const path = '/apis/scheduling.k8s.io/v1/priorityclasses';
  await admin.demand('POST', path, { body: { metadata: { name: 'serving' }, value: 1_000 } });
});

const tryOut = (pod: object) =>
  admin.request('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All&fieldValidation=Strict`, { body: pod });

describe('a golden pod', () => {
  it.each(files)('%s is taken where pods must be restricted', async (name) => {
    const pod = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'));
    const answer = await tryOut({ ...pod, metadata: { ...pod.metadata, namespace } });
    expect([answer.status, answer.status === 201 ? '' : answer.body]).toEqual([201, '']);
  });

  it('would not be with one right more', async () => {
    const pod = JSON.parse(readFileSync(new URL('sim.json', FOLDER), 'utf8'));
    pod.spec.containers[0].securityContext.allowPrivilegeEscalation = true;
    const answer = await tryOut({ ...pod, metadata: { ...pod.metadata, namespace } });
    expect([answer.status, answer.body]).toEqual([403, expect.stringMatching(/violates PodSecurity/)]);
  });
});
