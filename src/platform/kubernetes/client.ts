/**
 * The verbs of the Kubernetes API in our words. What a caller has to decide on is a value: absent, exists, changed under us, owned by
 * another manager, rejected. What leaves nothing to decide is a KubernetesError. Nothing is ever forced.
 */
import { type Clock, systemClock } from '../../shared/index.ts';
import { Caller, type CallOptions, type Opened } from './call.ts';
import { type Asked, type Cause, failureOf, isAccessDenied, KubernetesError, type ServerStatus, sentence } from './failure.ts';
import { apiVersion, asObject, collectionPath, type Draft, type KubeObject, objectPath, type Reference, type Resource } from './object.ts';
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts';
import type { Method, Transport } from './transport.ts';

export interface ClientOptions {
  readonly transport: Transport;
  /** Owner of the fields that `apply` writes; one for each controller. At most 128 characters. */
  readonly fieldManager: string;
  readonly clock?: Clock;
  /** In [0, 1). */
  readonly random?: () => number;
  readonly retry?: RetryPolicy;
  /** Bound of one try; 15 s unless told. */
  readonly timeoutMs?: number;
}

export interface Scope {
  /** All namespaces when absent. */
  readonly namespace?: string;
  /** `app=a,tier!=b`. */
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface Listing<T> {
  readonly items: readonly T[];
  /** The state of the collection that the items are: where a watch goes on. */
  readonly resourceVersion: string;
}

/** Fields that another manager owns with another value. */
export interface FieldConflict {
  readonly manager: string;
  readonly field: string;
}

export type Written<T> = { readonly kind: 'written'; readonly object: T };
/** The object is not the one that the caller saw: look again. */
export type Changed = { readonly kind: 'changed'; readonly message: string };
/** Validation, admission or quota said no: repeating it as it is does not help. */
export type Rejected = { readonly kind: 'rejected'; readonly message: string; readonly causes: readonly Cause[] };
export type Absent = { readonly kind: 'absent' };

export type Applied<T> =
  | Written<T>
  | Changed
  | Rejected
  | Absent
  | { readonly kind: 'conflict'; readonly conflicts: readonly FieldConflict[] };
/** After a retry, `exists` may mean an object that an earlier try made. */
export type Created<T> = Written<T> | Rejected | { readonly kind: 'exists' };
/** After a retry, `changed` may mean a change that an earlier try made. */
export type Merged<T> = Written<T> | Changed | Rejected | Absent;
/** `deleting`: finalizers or dependents keep it for now. */
export type Deleted = { readonly kind: 'deleted' | 'deleting' | 'absent' } | Changed | Rejected;

export interface DeleteOptions {
  /** Only the object with this identity, and not one of the same name that came later. */
  readonly uid?: string;
  /** Only while it is exactly as the caller saw it. */
  readonly resourceVersion?: string;
  /** What becomes of what it owns. Default `background`. */
  readonly dependents?: 'background' | 'foreground' | 'orphan';
}

/** A merge patch; with `metadata.resourceVersion` it takes effect only on the object as the caller saw it. */
export type MergePatch = Readonly<Record<string, unknown>>;

const PAGE = 500;
/** 5 million objects; an API server that goes on beyond that goes in circles. */
const MAX_PAGES = 10_000;
const TIMEOUT_MS = 15_000;

export class KubernetesClient {
  readonly #caller: Caller;
  readonly #fieldManager: string;

  constructor(options: ClientOptions) {
    const { transport, clock = systemClock, random = Math.random, retry = DEFAULT_RETRY, timeoutMs = TIMEOUT_MS } = options;
    this.#caller = new Caller({ transport, clock, random, retry, timeoutMs });
    this.#fieldManager = options.fieldManager;
  }

  /** Null when there is no such object. */
  async get<T extends KubeObject>(resource: Resource<T>, reference: Reference, options?: CallOptions): Promise<T | null> {
    const asked = { verb: 'get', resource, ...reference };
    const answer = await this.#caller.call(asked, { method: 'GET', path: objectPath(resource, reference) }, options);
    if (answer.kind === 'body') return stored(asked, resource, answer.body);
    if (answer.status.code === 404 && isObjectMissing(answer.status)) return null;
    throw failureOf(asked, answer.status);
  }

  /** All objects in `scope`, in pages. A list that grows old while it is read is read again in one piece. */
  async list<T extends KubeObject>(resource: Resource<T>, scope: Scope = {}, options?: CallOptions): Promise<Listing<T>> {
    const items: T[] = [];
    let rest: string | null = null;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const read: Page<T> | 'expired' = await this.#page(resource, scope, { limit: PAGE, rest }, options);
      if (read === 'expired') return this.#whole(resource, scope, options);
      items.push(...read.items);
      if (read.rest === null) return { items, resourceVersion: read.resourceVersion };
      rest = read.rest;
    }
    throw new KubernetesError('protocol', `cannot ${sentence({ verb: 'list', resource })}: more than ${MAX_PAGES} pages`);
  }

  async create<T extends KubeObject>(resource: Resource<T>, draft: Draft<T>, options?: CallOptions): Promise<Created<T>> {
    const { namespace, name } = draft.metadata;
    const asked = { verb: 'create', resource, namespace, name };
    objectPath(resource, draft.metadata);
    const path = `${collectionPath(resource, namespace)}?${query({ fieldManager: this.#fieldManager })}`;
    const outcome = await this.#write(asked, { method: 'POST', path, body: envelope(resource, draft) }, options);
    if (outcome.kind === 'body') return { kind: 'written', object: stored(asked, resource, outcome.body) };
    if (outcome.kind === 'rejected') return outcome;
    if (outcome.status.reason === 'AlreadyExists') return { kind: 'exists' };
    throw failureOf(asked, outcome.status);
  }

  /**
   * Server-side apply: the fields of `draft` become ours, fields that we applied before and left out now are given up. A field that another
   * manager holds with another value is a conflict and nothing is written. With `uid` or `resourceVersion` in its metadata it takes effect
   * only on that object.
   */
  apply<T extends KubeObject>(resource: Resource<T>, draft: Draft<T>, options?: CallOptions): Promise<Applied<T>> {
    return this.#apply(resource, draft, undefined, options);
  }

  /** Server-side apply of `/status`. Needs the object to be there. */
  applyStatus<T extends KubeObject>(resource: Resource<T>, draft: Draft<T>, options?: CallOptions): Promise<Applied<T>> {
    return this.#apply(resource, draft, 'status', options);
  }

  async #apply<T extends KubeObject>(
    resource: Resource<T>,
    draft: Draft<T>,
    part: 'status' | undefined,
    options?: CallOptions,
  ): Promise<Applied<T>> {
    const asked = { verb: 'patch', resource, namespace: draft.metadata.namespace, name: draft.metadata.name };
    const path = `${objectPath(resource, draft.metadata, part)}?${query({ fieldManager: this.#fieldManager })}`;
    const contentType = 'application/apply-patch+yaml';
    const outcome = await this.#write(asked, { method: 'PATCH', path, contentType, body: envelope(resource, draft) }, options);
    if (outcome.kind === 'body') return { kind: 'written', object: stored(asked, resource, outcome.body) };
    if (outcome.kind === 'rejected') return outcome;
    const { status } = outcome;
    if (status.code === 404 && isObjectMissing(status)) return { kind: 'absent' };
    if (status.code !== 409) throw failureOf(asked, status);
    const conflicts = status.causes.filter((cause) => cause.reason === 'FieldManagerConflict').map(fieldConflict);
    return conflicts.length > 0 ? { kind: 'conflict', conflicts } : { kind: 'changed', message: status.message };
  }

  /** With `dryRun` everything is checked and answered, and nothing is stored. */
  async merge<T extends KubeObject>(
    resource: Resource<T>,
    reference: Reference,
    patch: MergePatch,
    options?: CallOptions & { readonly dryRun?: boolean },
  ): Promise<Merged<T>> {
    const asked = { verb: 'patch', resource, ...reference };
    const words = { fieldManager: this.#fieldManager, ...(options?.dryRun === true ? { dryRun: 'All' } : {}) };
    const path = `${objectPath(resource, reference)}?${query(words)}`;
    const contentType = 'application/merge-patch+json';
    const outcome = await this.#write(asked, { method: 'PATCH', path, contentType, body: JSON.stringify(patch) }, options);
    if (outcome.kind === 'body') return { kind: 'written', object: stored(asked, resource, outcome.body) };
    if (outcome.kind === 'rejected') return outcome;
    if (outcome.status.code === 404 && isObjectMissing(outcome.status)) return { kind: 'absent' };
    if (outcome.status.code === 409) return { kind: 'changed', message: outcome.status.message };
    throw failureOf(asked, outcome.status);
  }

  async delete(resource: Resource, reference: Reference, only: DeleteOptions = {}, options?: CallOptions): Promise<Deleted> {
    const asked = { verb: 'delete', resource, ...reference };
    const { uid, resourceVersion, dependents = 'background' } = only;
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      preconditions: { uid, resourceVersion },
      propagationPolicy: PROPAGATION[dependents],
    };
    const request = { method: 'DELETE', path: objectPath(resource, reference), body: JSON.stringify(body) } as const;
    const outcome = await this.#write(asked, request, options);
    // The answer is the object while something keeps it, else a Status.
    if (outcome.kind === 'body') return { kind: asObject(resource, outcome.body) === null ? 'deleted' : 'deleting' };
    if (outcome.kind === 'rejected') return outcome;
    if (outcome.status.code === 404 && isObjectMissing(outcome.status)) return { kind: 'absent' };
    if (outcome.status.code === 409) return { kind: 'changed', message: outcome.status.message };
    throw failureOf(asked, outcome.status);
  }

  /** Opens a watch of `scope` from `resourceVersion` on; see `watch/`, which knows what to do when it ends. */
  watch(resource: Resource, scope: Scope, { resourceVersion, seconds, ...open }: WatchCall): Promise<Opened> {
    const asked = { verb: 'watch', resource, namespace: scope.namespace };
    const words = { watch: 'true', allowWatchBookmarks: 'true', resourceVersion, timeoutSeconds: String(seconds), ...selectors(scope) };
    return this.#caller.open(asked, `${collectionPath(resource, scope.namespace)}?${query(words)}`, open);
  }

  async #page<T extends KubeObject>(
    resource: Resource<T>,
    scope: Scope,
    at: PageStart,
    options?: CallOptions,
  ): Promise<Page<T> | 'expired'> {
    const asked = { verb: 'list', resource, namespace: scope.namespace };
    const words = {
      ...selectors(scope),
      ...(at.limit === null ? {} : { limit: String(at.limit) }),
      ...(at.rest === null ? {} : { continue: at.rest }),
    };
    const answer = await this.#caller.call(
      asked,
      { method: 'GET', path: `${collectionPath(resource, scope.namespace)}?${query(words)}` },
      options,
    );
    if (answer.kind === 'body') return readPage(asked, resource, answer.body);
    if (answer.status.code === 410 && at.rest !== null) return 'expired';
    throw failureOf(asked, answer.status);
  }

  async #whole<T extends KubeObject>(resource: Resource<T>, scope: Scope, options?: CallOptions): Promise<Listing<T>> {
    const read = await this.#page(resource, scope, { limit: null, rest: null }, options);
    if (read !== 'expired') return read;
    throw new KubernetesError('protocol', `cannot ${sentence({ verb: 'list', resource })}: a list without pages has expired`);
  }

  /** A write, with its refusals that no repetition mends already told apart. */
  async #write(asked: Asked, request: Write, options?: CallOptions): Promise<Body | Rejected | Refused> {
    const answer = await this.#caller.call(asked, { contentType: 'application/json', ...request }, options);
    if (answer.kind === 'body') return answer;
    const { status } = answer;
    // An apply onto another uid is answered as if it were a change of the field.
    if (status.code === 422 && status.causes.some(({ field }) => field === 'metadata.uid'))
      return { ...answer, status: { ...status, code: 409 } };
    const denied = status.code === 403 && !isAccessDenied(status);
    if (denied || status.code === 400 || status.code === 413 || status.code === 422)
      return { kind: 'rejected', message: status.message, causes: status.causes };
    return answer;
  }
}

interface WatchCall {
  readonly resourceVersion: string;
  /** The API server ends the watch after that. */
  readonly seconds: number;
  readonly signal: AbortSignal;
  /** Until the head of the answer. */
  readonly timeoutMs: number;
}

interface Write {
  readonly method: Method;
  readonly path: string;
  readonly contentType?: string;
  readonly body: string;
}

type Body = { readonly kind: 'body'; readonly body: unknown };
type Refused = { readonly kind: 'status'; readonly status: ServerStatus };

interface PageStart {
  readonly limit: number | null;
  readonly rest: string | null;
}

interface Page<T> extends Listing<T> {
  readonly rest: string | null;
}

const PROPAGATION = { background: 'Background', foreground: 'Foreground', orphan: 'Orphan' } as const;

function query(words: Readonly<Record<string, string>>): string {
  return new URLSearchParams(words).toString();
}

function selectors({ labelSelector, fieldSelector }: Scope): Record<string, string> {
  return { ...(labelSelector === undefined ? {} : { labelSelector }), ...(fieldSelector === undefined ? {} : { fieldSelector }) };
}

function envelope<T extends KubeObject>(resource: Resource<T>, draft: Draft<T>): string {
  return JSON.stringify({ apiVersion: apiVersion(resource), kind: resource.kind, ...draft });
}

function stored<T extends KubeObject>(asked: Asked, resource: Resource<T>, body: unknown): T {
  const object = asObject(resource, body);
  if (object === null) throw new KubernetesError('protocol', `cannot ${sentence(asked)}: the answer is no ${resource.kind}`);
  return object;
}

function readPage<T extends KubeObject>(asked: Asked, resource: Resource<T>, body: unknown): Page<T> {
  const { items, metadata } = Object(body);
  if (!Array.isArray(items) || typeof metadata?.resourceVersion !== 'string')
    throw new KubernetesError('protocol', `cannot ${sentence(asked)}: the answer is no list`);
  const rest = typeof metadata.continue === 'string' && metadata.continue !== '' ? metadata.continue : null;
  return { items: items.map((item) => stored(asked, resource, item)), resourceVersion: metadata.resourceVersion, rest };
}

/** 404 of one object, in contrast to a resource or a namespace that is not there. */
function isObjectMissing({ reason, message }: ServerStatus): boolean {
  return reason === 'NotFound' && !/^namespaces? |could not find the requested resource/.test(message);
}

function fieldConflict({ field, message }: Cause): FieldConflict {
  return { manager: /conflict with "([^"]*)"/.exec(message)?.[1] ?? message, field };
}
