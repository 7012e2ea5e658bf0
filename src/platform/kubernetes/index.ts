/** The face of Kubernetes: nobody else sees the client library. Importing this is cheap; the library is loaded by the first `connect`. */
export {
  CONFIG_MAPS,
  CONTROLLER_REVISIONS,
  type ConfigMap,
  type ControllerRevision,
  DISRUPTION_BUDGETS,
  NETWORK_POLICIES,
  type NetworkPeer,
  type NetworkPolicy,
  PODS,
  type Pod,
  type PodDisruptionBudget,
  SERVICES,
  type Service,
} from './builtin.ts';
export type { CallOptions } from './call.ts';
export {
  type Applied,
  type Created,
  type Deleted,
  type DeleteOptions,
  type FieldConflict,
  KubernetesClient,
  type Listing,
  type Merged,
  type Scope,
} from './client.ts';
export { EVENTS, type Happening, type KubeEvent } from './events/event.ts';
export { EventRecorder, type RecorderOptions } from './events/recorder.ts';
export { type FailureReason, KubernetesError } from './failure.ts';
export { type FleetOptions, type FleetOwner, PodFleet } from './fleet.ts';
export { type Access, type Connection, connect } from './https.ts';
export { type Component, LABELS, labelsOf, MANAGED, podSelector } from './labels.ts';
export { Election, type ElectionNotice, type ElectionOptions, type ElectionTiming, type Term } from './lease/election.ts';
export { LEASES, type Lease } from './lease/lease.ts';
export type { Draft, KubeObject, ObjectMeta, OwnerReference, Reference, Resource } from './object.ts';
export { PORTS } from './pods/container.ts';
export { type QueueOptions, type RunOutcome, WorkQueue } from './queue/queue.ts';
export { LostConnection, type Transport } from './transport.ts';
export { Reflector, type ReflectorNotice, type ReflectorOptions, type ReflectorState } from './watch/reflector.ts';
export { ObjectStore, type StoreView } from './watch/store.ts';
