/** Resources that every cluster has, typed by the client library's models. */
import type { V1ConfigMap } from '@kubernetes/client-node';
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

export const CONFIG_MAPS: Resource<ConfigMap> = { group: '', version: 'v1', plural: 'configmaps', kind: 'ConfigMap', namespaced: true };
