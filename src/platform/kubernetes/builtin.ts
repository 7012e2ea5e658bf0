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
