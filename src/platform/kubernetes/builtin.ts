/** Resources that every cluster has, typed by the client library's models. */
import type { V1ConfigMap, V1Pod, V1PodDisruptionBudget, V1Service } from '@kubernetes/client-node';
import type { KubeObject, Resource } from './object.ts';

/** A model of the library as it travels: its times are text, not `Date`. */
type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Wire<Item>[]
    : T extends object
      ? { readonly [Field in keyof T]: Wire<T[Field]> }
      : T;

type Stored<Model> = KubeObject & Omit<Wire<Model>, keyof KubeObject>;

export type ConfigMap = Stored<V1ConfigMap>;
export type Pod = Stored<V1Pod>;
export type Service = Stored<V1Service>;
export type PodDisruptionBudget = Stored<V1PodDisruptionBudget>;

export const CONFIG_MAPS: Resource<ConfigMap> = { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap', namespaced: true };
export const PODS: Resource<Pod> = { group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true };
export const SERVICES: Resource<Service> = { group: '', version: 'v1', plural: 'services', kind: 'Service', namespaced: true };
export const DISRUPTION_BUDGETS: Resource<PodDisruptionBudget> = {
  group: 'policy',
  version: 'v1',
  plural: 'poddisruptionbudgets',
  kind: 'PodDisruptionBudget',
  namespaced: true,
};

/** A state of another object that was wanted once; `data` never changes. */
export interface ControllerRevision extends KubeObject {
  readonly data?: unknown;
  /** Grows: the largest is the newest. */
  readonly revision: number;
}

export const CONTROLLER_REVISIONS: Resource<ControllerRevision> = {
  group: 'apps',
  version: 'v1',
  plural: 'controllerrevisions',
  kind: 'ControllerRevision',
  namespaced: true,
};

/** A side of a connection that may be made; the library's model of it names its fields otherwise than they travel. */
export type NetworkPeer =
  | { readonly podSelector: LabelSelector; readonly namespaceSelector?: LabelSelector }
  | { readonly ipBlock: { readonly cidr: string } };

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: 'In'; readonly values: readonly string[] }[];
}

export interface NetworkPolicy extends KubeObject {
  readonly spec?: {
    readonly podSelector: LabelSelector;
    readonly policyTypes: readonly ('Ingress' | 'Egress')[];
    /** Without `from`: anybody; without `ports`: any. */
    readonly ingress: readonly { readonly from?: readonly NetworkPeer[]; readonly ports?: readonly NetworkPort[] }[];
  };
}

export interface NetworkPort {
  readonly protocol: 'TCP';
  readonly port: number;
}

export const NETWORK_POLICIES: Resource<NetworkPolicy> = {
  group: 'networking.k8s.io',
  version: 'v1',
  plural: 'networkpolicies',
  kind: 'NetworkPolicy',
  namespaced: true,
};
