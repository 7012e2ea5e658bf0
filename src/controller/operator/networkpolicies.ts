/**
 * Who may open connections to the pods of a deployment. Pure.
 *
 * - Routers: everybody to their requests (and metrics), the operator alone to their admin port.
 * - Instances: their routers and the operator, which asks each who it is, to their requests; each other on every port, because engines
 *   choose the ports of their hand-offs themselves (NIXL's listeners, and a side channel that differs from start to start).
 *
 * What pods connect to is not restricted: they fetch weights. Probes come from the node, which policies do not keep out. Policies add
 * up: who else is to get through, as a scraper of metrics to instances, is let through by another policy beside these.
 */
import { type Draft, LABELS, type NetworkPeer, type NetworkPolicy, PORTS, podSelector } from '../../platform/kubernetes/index.ts';
import { ROLES } from '../servingdeployment/desired.ts';
import { stamped } from './change.ts';
import { metaOf } from './drafts.ts';
import type { DeploymentObject } from './resources.ts';

/** Where operators connect from; null = not known, so that policies would lock them out. */
export type OperatorPeers = readonly NetworkPeer[] | null;

export function networkPolicyDrafts(deployment: DeploymentObject, operators: readonly NetworkPeer[]): Draft<NetworkPolicy>[] {
  const { name } = deployment.metadata;
  const routers = { matchLabels: podSelector(name, 'router') };
  const instances = {
    matchLabels: { [LABELS.deployment]: name },
    matchExpressions: [{ key: LABELS.component, operator: 'In' as const, values: ROLES }],
  };
  const tcp = (port: number) => [{ protocol: 'TCP' as const, port }];
  return [
    stamped<NetworkPolicy>({
      metadata: metaOf(deployment, policyNames(name).router, 'router'),
      spec: {
        podSelector: routers,
        policyTypes: ['Ingress'],
        ingress: [{ ports: tcp(PORTS.router) }, { from: operators, ports: tcp(PORTS.routerAdmin) }],
      },
    }),
    stamped<NetworkPolicy>({
      metadata: metaOf(deployment, policyNames(name).instances),
      spec: {
        podSelector: instances,
        policyTypes: ['Ingress'],
        ingress: [{ from: [{ podSelector: routers }, ...operators], ports: tcp(PORTS.instance) }, { from: [{ podSelector: instances }] }],
      },
    }),
  ];
}

export function policyNames(deployment: string): { readonly router: string; readonly instances: string } {
  return { router: `${deployment}-router`, instances: `${deployment}-instances` };
}
