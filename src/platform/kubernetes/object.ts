/** Objects of the Kubernetes API as they travel: JSON, times as RFC 3339 text. */

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  /** Opaque: only equality means something. */
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly finalizers?: readonly string[];
}

/** An object that the API server has stored. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** What a writer names; the API server fills in the rest. */
export type DraftMeta = Pick<ObjectMeta, 'name'> & Partial<ObjectMeta>;

/** An object to write. `apiVersion` and `kind` come from its resource. */
export type Draft<T extends KubeObject> = Omit<T, 'apiVersion' | 'kind' | 'metadata'> & { readonly metadata: DraftMeta };

/** A type of objects and where the API server keeps them. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** Empty for the oldest resources (pods, services, …). */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set: ties the type of the objects to the resource. */
  readonly objects?: T;
}

/** One object of a resource. `namespace` stays away for resources that have none. */
export interface Reference {
  readonly name: string;
  readonly namespace?: string;
}

export function apiVersion({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`;
}

/** `configmaps`, `leases.coordination.k8s.io`: how RBAC and kubectl name it. */
export function resourceName({ group, plural }: Resource): string {
  return group === '' ? plural : `${plural}.${group}`;
}

/** Path of all objects of a resource, in `namespace` or everywhere. */
export function collectionPath(resource: Resource, namespace?: string): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope = resource.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${root}${scope}/${resource.plural}`;
}

/** Path of one object, or of a sub-resource of it. Throws a RangeError when the namespace is missing or too much. */
export function objectPath(resource: Resource, { name, namespace }: Reference, subresource?: string): string {
  if (name === '') throw new RangeError(`name of ${resource.kind} is empty, expected an object's name`);
  if (resource.namespaced !== (namespace !== undefined))
    throw new RangeError(
      `namespace of ${resource.kind} ${name} is ${namespace ?? 'absent'}: ${resource.namespaced ? 'it lives in one' : 'it lives in none'}`,
    );
  const path = `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** `namespace/name`, or `name` where there is no namespace: the key of stores and queues. */
export function objectKey({ name, namespace }: Reference): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** Checks the envelope of an answer; its content was validated by the API server against the schema of `resource`. Null when it is no object. */
export function asObject<T extends KubeObject>(resource: Resource<T>, answer: unknown): T | null {
  // Items of a list do not carry these two.
  const object =
    typeof answer === 'object' && answer !== null ? { apiVersion: apiVersion(resource), kind: resource.kind, ...answer } : null;
  return object !== null && isKubeObject(object) && object.kind === resource.kind ? (object as T) : null;
}

function isKubeObject(value: object): value is KubeObject {
  if (!('metadata' in value) || typeof value.metadata !== 'object' || value.metadata === null) return false;
  const { metadata } = value;
  return ['name', 'uid', 'resourceVersion'].every((field) => field in metadata && typeof Reflect.get(metadata, field) === 'string');
}
