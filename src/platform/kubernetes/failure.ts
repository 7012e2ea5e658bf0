/** What can go wrong between us and an API server, and how its answers are read. */
import { type ErrorCode, SluiceError } from '../../shared/index.ts';
import { type Resource, resourceName } from './object.ts';
import { LostConnection } from './transport.ts';

/** Few and stable: for metrics and conditions. */
export type FailureReason =
  | 'aborted'
  | 'configuration'
  | 'unreachable'
  | 'timeout'
  | 'unauthorized'
  | 'forbidden'
  | 'unknown_resource'
  | 'expired'
  | 'overloaded'
  | 'server'
  | 'protocol';

const CODES: Readonly<Record<FailureReason, ErrorCode>> = {
  aborted: 'client_closed',
  configuration: 'internal',
  unreachable: 'unavailable',
  timeout: 'deadline_exceeded',
  unauthorized: 'internal',
  forbidden: 'internal',
  unknown_resource: 'internal',
  expired: 'unavailable',
  overloaded: 'unavailable',
  server: 'unavailable',
  protocol: 'internal',
};

/** A call that gave no answer to work with; the message says what to do. What the caller has to decide on is a value instead. */
export class KubernetesError extends SluiceError {
  readonly reason: FailureReason;

  constructor(reason: FailureReason, message: string, cause?: unknown) {
    super(CODES[reason], message, { cause });
    this.name = 'KubernetesError';
    this.reason = reason;
  }
}

/** One thing in an object that the API server or another manager of its fields objects to. */
export interface Cause {
  /** The API server's word, `FieldManagerConflict`, `FieldValueInvalid`; empty when it gives none. */
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

/** The API server's `metav1.Status`, in so far as it is told. */
export interface ServerStatus {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly causes: readonly Cause[];
  readonly retryAfterSeconds: number | null;
}

/** Reads the body of a failed answer. Whatever stands between us and the API server may answer with a text of its own: that becomes the message. */
export function readStatus(code: number, text: string): ServerStatus {
  const body = parse(text);
  const details = field(body, 'details');
  const causes = field(details, 'causes');
  const seconds = field(details, 'retryAfterSeconds');
  return {
    code,
    reason: string(body, 'reason'),
    message: string(body, 'message') || text.slice(0, 300).trim() || `HTTP ${code} without a body`,
    causes: Array.isArray(causes) ? causes.map(readCause) : [],
    retryAfterSeconds: typeof seconds === 'number' && seconds > 0 ? seconds : null,
  };
}

function readCause(cause: unknown): Cause {
  return { reason: string(cause, 'reason'), field: string(cause, 'field'), message: string(cause, 'message') };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's page
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function string(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === 'string' ? found : '';
}

/** What was asked, for messages: `list configmaps in namespace "a"`. */
export interface Asked {
  readonly verb: string;
  readonly resource: Resource;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

export function sentence({ verb, resource, namespace, name }: Asked): string {
  const what = name === undefined ? resourceName(resource) : `${resourceName(resource)} "${name}"`;
  return `${verb} ${what}${namespace === undefined ? '' : ` in namespace "${namespace}"`}`;
}

/** RBAC refused, in contrast to admission, quota, or a namespace that is being deleted. */
export function isAccessDenied({ code, message }: ServerStatus): boolean {
  return code === 403 && / cannot \w+ /.test(message);
}

/** The error of an answer that is none of the values a verb knows. */
export function failureOf(asked: Asked, status: ServerStatus): KubernetesError {
  const said = `The API server said: ${status.message}`;
  const what = sentence(asked);
  if (status.code === 401)
    return new KubernetesError(
      'unauthorized',
      `cannot ${what}: the API server does not accept our credentials. Renew the token or certificate of the kubeconfig. ${said}`,
    );
  if (status.code === 403) return new KubernetesError('forbidden', forbidden(asked, status));
  if (status.code === 404) return new KubernetesError('unknown_resource', `cannot ${what}: ${missing(asked, status)} ${said}`);
  if (status.code === 410)
    return new KubernetesError('expired', `cannot ${what} from that point: the API server has forgotten it. List again. ${said}`);
  if (status.code === 429)
    return new KubernetesError(
      'overloaded',
      `cannot ${what}: the API server refuses more requests for now. Try later, or less often. ${said}`,
    );
  if (status.code >= 500)
    return new KubernetesError('server', `cannot ${what}: the API server fails with ${status.code}. Look at its log and at etcd. ${said}`);
  return new KubernetesError('protocol', `cannot ${what}: unexpected answer ${status.code}. ${said}`);
}

function forbidden(asked: Asked, { message }: ServerStatus): string {
  const user = /User "([^"]+)"/.exec(message)?.[1] ?? 'this user';
  const { group, plural } = asked.resource;
  const where = asked.namespace === undefined ? 'a ClusterRole' : `a Role in namespace "${asked.namespace}" or a ClusterRole`;
  return `${user} may not ${sentence(asked)}: bind it to ${where} that allows verb "${asked.verb}" on resource "${plural}" of API group "${group}". The API server said: ${message}`;
}

function missing({ resource, namespace }: Asked, { message }: ServerStatus): string {
  if (/^namespaces? /.test(message)) return `the namespace "${namespace ?? ''}" does not exist. Create it first.`;
  return `the API server does not know ${resourceName(resource)} (${resource.version}). Install its CustomResourceDefinition.`;
}

/** Whatever a transport threw, as our error. */
export function transportFailure(asked: Asked, thrown: unknown): KubernetesError {
  if (thrown instanceof KubernetesError) return thrown;
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof LostConnection)
    return new KubernetesError(
      'unreachable',
      `cannot ${sentence(asked)}: the API server cannot be reached (${why}). Check that it runs and that the kubeconfig names it.`,
      thrown,
    );
  return new KubernetesError('protocol', `cannot ${sentence(asked)}: ${why}`, thrown);
}
