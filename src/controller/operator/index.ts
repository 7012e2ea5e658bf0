/** The face of the operator; apart from that of the controller, because what talks to Kubernetes is not loaded on one machine. */
export { PIN_EVENTS } from '../pinnedcontext/happenings.ts';
export { STEP_REASONS } from './happenings.ts';
export type { OperatorPeers } from './networkpolicies.ts';
export { Operator, type OperatorOptions, type OperatorState } from './operator.ts';
export {
  type DeploymentObject,
  FIELD_MANAGER,
  isOwnedBy,
  KV_TIERS,
  type PoolObject,
  SERVING_DEPLOYMENTS,
  SERVING_POOLS,
  type TierObject,
} from './resources.ts';
export { byAge, isOf, specOf } from './revisions.ts';
