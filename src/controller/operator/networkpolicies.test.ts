import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LABELS, labelsOf, type NetworkPolicy, PORTS } from '../../platform/kubernetes/index.ts';
import { networkPolicyDrafts } from './networkpolicies.ts';
import type { DeploymentObject } from './resources.ts';

const DEPLOYMENT: DeploymentObject = {
  apiVersion: 'serving.sluice.dev/v1alpha1',
  kind: 'ServingDeployment',
  metadata: { name: 'chat', namespace: 'team', uid: 'u', resourceVersion: '1' },
};
const OPERATOR = {
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'sluice-system' } },
  podSelector: { matchLabels: { a: 'operator' } },
};
const drafts = networkPolicyDrafts(DEPLOYMENT, [OPERATOR]);

type Labels = Readonly<Record<string, string>>;
type Selector = NonNullable<NetworkPolicy['spec']>['podSelector'];

function selects({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  const isThere = Object.entries(matchLabels).every(([key, value]) => labels[key] === value);
  return isThere && matchExpressions.every(({ key, values }) => values.includes(labels[key] ?? ''));
}

/** As a network that enforces policies decides: whoever is selected by none is open to all. */
function isOpen(to: Labels, port: number, from: Labels | null): boolean {
  const rules = drafts.filter(({ spec }) => spec && selects(spec.podSelector, to)).flatMap(({ spec }) => spec?.ingress ?? []);
  return rules.some(
    ({ from: peers, ports }) =>
      (ports === undefined || ports.some((one) => one.port === port)) &&
      (peers === undefined || peers.some((peer) => from !== null && 'podSelector' in peer && selects(peer.podSelector, from))),
  );
}

const router = labelsOf('chat', 'router');
const [prefill, decode] = [labelsOf('chat', 'prefill'), labelsOf('chat', 'decode')];
const operator = { a: 'operator' };
const TRANSFER = 31_234;

describe('the network policies of a deployment', () => {
  it('are as they stand in the golden file', () => {
    const golden = JSON.parse(readFileSync(new URL('fixtures/networkpolicies.json', import.meta.url), 'utf8'));
    expect(drafts).toEqual(golden);
  });

  it.each([
    { from: null, to: router, port: PORTS.router, open: true },
    { from: null, to: router, port: PORTS.routerAdmin, open: false },
    { from: null, to: decode, port: PORTS.instance, open: false },
    { from: null, to: decode, port: TRANSFER, open: false },
    { from: operator, to: router, port: PORTS.routerAdmin, open: true },
    { from: operator, to: decode, port: PORTS.instance, open: true },
    { from: operator, to: decode, port: TRANSFER, open: false },
    { from: router, to: prefill, port: PORTS.instance, open: true },
    { from: router, to: prefill, port: TRANSFER, open: false },
    { from: router, to: router, port: PORTS.routerAdmin, open: false },
    { from: decode, to: prefill, port: TRANSFER, open: true },
    { from: decode, to: router, port: PORTS.routerAdmin, open: false },
    { from: labelsOf('other', 'router'), to: prefill, port: PORTS.instance, open: false },
    { from: labelsOf('other', 'decode'), to: prefill, port: TRANSFER, open: false },
  ])('from $from to $to port $port: $open', ({ from, to, port, open }) => {
    expect(isOpen(to, port, from)).toBe(open);
  });

  it('keep no pod from reaching others: routers send traces to a collector, and instances fetch weights', () => {
    for (const { spec } of drafts) expect(spec?.policyTypes).toEqual(['Ingress']);
  });

  it('leave the pods of other deployments alone', () => {
    for (const { spec } of drafts) expect(spec && selects(spec.podSelector, { ...decode, [LABELS.deployment]: 'other' })).toBe(false);
  });
});
