/** `network`: who may reach the pods of a deployment. */
import { block, oneOf } from '../fields.ts';

export const network = block({
  policies: oneOf(['Managed', 'None'])
    .default('Managed')
    .describe(
      'NetworkPolicies of the pods: `Managed`, the operator keeps them, so that clients reach routers, and only routers, the operator and each other reach instances; `None`, it makes none and removes its own. Works where the network of the cluster enforces policies. Used on Kubernetes; the process platform ignores it.',
    ),
});
