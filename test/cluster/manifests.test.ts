/** manifests/ against a real API server: the operator does all its work with the rights that are given it there, and samples are taken. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { Operator } from '../../src/controller/operator/index.ts';
import { connect, Election, KubernetesClient, type Transport } from '../../src/platform/kubernetes/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { until } from './bed.ts';
import { IMAGE, OPERATORS, OperatorBed } from './operatorbed.ts';

const MANIFESTS = new URL('../../manifests/', import.meta.url);
const SYSTEM = 'sluice-system';
const ACCOUNT = 'sluice-operator';
/** A busy machine takes long to start a process. */
const PATIENCE_MS = 150_000;
vi.setConfig({ testTimeout: 2 * PATIENCE_MS, hookTimeout: PATIENCE_MS });

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const PLURALS: Readonly<Record<string, string>> = {
  Namespace: 'namespaces',
  ServiceAccount: 'serviceaccounts',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  Role: 'roles',
  RoleBinding: 'rolebindings',
};

const rbac: readonly Manifest[] = parseAllDocuments(readFileSync(new URL('operator/rbac.yaml', MANIFESTS), 'utf8')).map((one) =>
  one.toJS(),
);

let bed: OperatorBed;
beforeAll(async () => {
  bed = await OperatorBed.open(inject('kubeconfig'), 'manifests');
});
afterAll(() => bed.close());

async function install({ apiVersion, kind, metadata, ...rest }: Manifest): Promise<void> {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
  const body = JSON.stringify({ apiVersion, kind, metadata, ...rest });
  const path = `${root}${scope}/${PLURALS[kind]}/${metadata.name}?fieldManager=kubectl`;
  await bed.admin.demand('PATCH', path, { body, contentType: 'application/apply-patch+yaml' });
}

/** What RBAC calls a request: `patch servingdeployments.serving.sluice.dev/status`. */
function rightOf(method: string, path: string): string {
  const [route = '', query = ''] = path.split('?');
  const words = route.split('/').slice(1);
  const group = words[0] === 'apis' ? words[1] : '';
  const [first, second, ...others] = words.slice(words[0] === 'apis' ? 3 : 2);
  const [resource = '', name, part] = first === 'namespaces' && others.length > 0 ? others : [first, second, ...others];
  const verb = method === 'GET' ? (name !== undefined ? 'get' : query.includes('watch=true') ? 'watch' : 'list') : VERBS[method];
  // Server-side apply of an object that is not there asks for both.
  return `${verb} ${resource}${group === '' ? '' : `.${group}`}${part === undefined ? '' : `/${part}`}`;
}

const VERBS: Readonly<Record<string, string>> = { POST: 'create', PATCH: 'patch', DELETE: 'delete' };

function granted(): string[] {
  const rules = rbac.flatMap((one) => one.rules ?? []);
  return rules.flatMap(({ apiGroups: [group = ''], resources, verbs }) =>
    resources.flatMap((resource) => {
      const [plural, part] = resource.split('/');
      return verbs.map((verb) => `${verb} ${plural}${group === '' ? '' : `.${group}`}${part === undefined ? '' : `/${part}`}`);
    }),
  );
}

describe('manifests/operator/rbac.yaml', () => {
  it('lets the operator do all of its work, and gives it nothing that it does not use', async () => {
    for (const manifest of rbac) await install(manifest);
    const kubeconfig = await bed.admin.serviceAccount(SYSTEM, ACCOUNT);
    const { transport } = await connect({ kind: 'kubeconfig', path: kubeconfig }, 'sluice-test');
    const used = new Set<string>();
    const denied = new Set<string>();
    const watched: Transport = {
      async send(request) {
        const answer = await transport.send(request);
        const right = rightOf(request.method, request.path);
        if (answer.status === 403) denied.add(right);
        else used.add(right);
        // An object that apply made was created too.
        if (request.method === 'PATCH' && answer.status === 201) used.add(right.replace('patch', 'create'));
        return answer;
      },
      close: () => transport.close(),
    };
    const client = new KubernetesClient({ transport: watched, fieldManager: 'sluice-operator' });
    const isAllowed = async () =>
      (await transport.send({ method: 'GET', path: '/api/v1/pods', signal: AbortSignal.timeout(5_000) })).status === 200;
    await until(isAllowed, () => 'the API server has not taken up the rights');

    const lines: string[] = [];
    const log = createLogger({ name: 'operator', level: 'warn', format: 'json', destination: { write: (line) => lines.push(line) } });
    // Of other namespaces tests leave deployments behind.
    const own = { operatorPeers: OPERATORS, identity: 'rights', leads: () => true, clock: systemClock, log };
    const operator = new Operator({ client, namespace: bed.namespace, image: IMAGE, ...own });
    const election = new Election({ client, namespace: SYSTEM, name: 'sluice-operator', identity: 'rights', lead: () => operator.start() });
    await election.start();
    try {
      const sim = { model: { name: 'simulated' }, engine: { type: 'sim' }, rollout: { history: 2 } };
      // Somebody else's pod is in the way.
      const alien = {
        metadata: { name: 'rights-router-0' },
        spec: { containers: [{ name: 'main', image: 'i', command: ['sleep', '1000'] }] },
      };
      await bed.admin.demand('POST', `/api/v1/namespaces/${bed.namespace}/pods`, { body: alien });
      await bed.put('rights', { ...sim, prefill: { replicas: 1 }, decode: { replicas: 2 } });
      await bed.settled('rights', PATIENCE_MS);
      // Lets instances go, and a pool, and policies.
      await bed.put('rights', { ...sim, decode: { replicas: 1 }, network: { policies: 'None' } });
      await until(
        async () => (await bed.admin.request('GET', bed.path('servingpools', 'rights-prefill'))).status === 404,
        () => `the pool of prefill is still there: ${lines.slice(-5).join('')}`,
        PATIENCE_MS,
      );
      // Nobody names it; it is told so.
      await bed.putTier('rights', { store: { directory: { path: '/kv' } } });
      await bed.putPinned('rights', { deploymentRef: { name: 'rights' }, text: 'The same beginning. '.repeat(20) });
      // Another revision than are kept, of which nothing is replaced.
      await bed.put('rights', { ...sim, decode: { replicas: 1 }, network: { policies: 'None' }, slo: { ttft: { p99: '1s' } } });
      await bed.settled('rights', PATIENCE_MS);
      const told = [
        'create events.events.k8s.io',
        'patch kvtiers.serving.sluice.dev/status',
        'patch pinnedcontexts.serving.sluice.dev/status',
      ];
      await until(
        () => told.every((right) => used.has(right)) || denied.size > 0,
        () => [...used].join('\n'),
      );
    } finally {
      await operator.stop(5_000);
      transport.close();
    }
    expect([...denied], lines.slice(-5).join('')).toEqual([]);
    // Asked for by an admission plugin that not every cluster has, for `blockOwnerDeletion`; events are counted when they repeat; a Lease
    // is renewed by the process that this operator is not.
    const unseen = granted().filter((right) => !used.has(right));
    expect(unseen.filter((right) => !/\/finalizers$|^patch events\.|^patch leases\./.test(right))).toEqual([]);
  });
});

/** With the path of the file, each in the order in which kubectl applies it. */
const samples = ['samples/', 'samples/kubernetes/'].flatMap((folder) =>
  readdirSync(new URL(folder, MANIFESTS))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => `${folder}${name}`),
);
const SAMPLED: Readonly<Record<string, string>> = {
  ServingDeployment: 'servingdeployments',
  KVTier: 'kvtiers',
  PinnedContext: 'pinnedcontexts',
  HorizontalPodAutoscaler: 'horizontalpodautoscalers',
};

describe('manifests/samples', () => {
  it('holds one of every kind that is promised', () => {
    const names = [
      'llama-cpp-cpu',
      'quickstart',
      'simulated',
      'kvtier',
      'pinned-context',
      'vllm-cpu',
      'vllm-gpu',
      'vllm-h200',
      'sglang-gpu',
      'kubernetes/autoscaled',
      'kubernetes/several-models',
    ];
    expect(samples).toEqual(expect.arrayContaining(names.map((name) => `samples/${name}.yaml`)));
  });

  it.each(samples)('%s is taken as it is', async (name) => {
    const namespace = await bed.admin.namespace('samples');
    const documents = parseAllDocuments(readFileSync(new URL(name, MANIFESTS), 'utf8'), { merge: true });
    for (const { apiVersion, kind, metadata, ...rest } of documents.map((one): Manifest => one.toJS())) {
      const path = `/apis/${apiVersion}/namespaces/${namespace}/${SAMPLED[kind]}/${metadata.name}?fieldManager=kubectl&fieldValidation=Strict`;
      const body = JSON.stringify({ apiVersion, kind, metadata, ...rest });
      const answer = await bed.admin.request('PATCH', path, { body, contentType: 'application/apply-patch+yaml' });
      expect([answer.status, answer.status === 201 ? '' : answer.body]).toEqual([201, '']);
    }
  });
});
