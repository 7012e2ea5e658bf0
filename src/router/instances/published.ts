/** The list of instances that the controller gives the router. Level-triggered: always the whole list. Pure. */
import type { Role } from '../../engines/index.ts';
import { SluiceError } from '../../shared/index.ts';

export interface PublishedInstance {
  readonly id: string;
  readonly incarnation: string;
  readonly role: Role;
  /** `http://host:port`. */
  readonly url: string;
  readonly transfer: { readonly host: string; readonly port: number };
  readonly draining: boolean;
}

export interface PublishedList {
  readonly generation: number;
  readonly model: string;
  readonly instances: readonly PublishedInstance[];
}

type Fields = Readonly<Record<string, unknown>>;

const MAX_INSTANCES = 1024;
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const ROLES: readonly Role[] = ['prefill', 'decode', 'mixed'];

/** @throws SluiceError invalid_request naming the field, its value and what it must be */
export function readPublishedList(value: unknown): PublishedList {
  const list = objectAt(value, 'body', ['generation', 'model', 'instances']);
  const instances = list['instances'];
  if (!Array.isArray(instances) || instances.length > MAX_INSTANCES)
    throw wrong('instances', `an array of at most ${MAX_INSTANCES}`, instances);
  const read = instances.map((instance: unknown, index) => readInstance(instance, `instances[${index}]`));
  const seen = new Set<string>();
  for (const [index, { id }] of read.entries()) {
    if (seen.size === seen.add(id).size) throw wrong(`instances[${index}].id`, 'unlike every other one', id);
  }
  return {
    generation: integerAt(list['generation'], 'generation', 0, Number.MAX_SAFE_INTEGER),
    model: textAt(list['model'], 'model', 256),
    instances: read,
  };
}

function readInstance(value: unknown, path: string): PublishedInstance {
  const fields = objectAt(value, path, ['id', 'incarnation', 'role', 'url', 'transfer', 'draining']);
  const { id, draining } = fields as { id?: unknown; draining?: unknown };
  if (typeof id !== 'string' || !ID.test(id))
    throw wrong(`${path}.id`, '1 to 128 letters, digits and ._-, beginning with a letter or digit', id);
  if (typeof draining !== 'boolean') throw wrong(`${path}.draining`, 'true or false', draining);
  const role = ROLES.find((each) => each === fields['role']);
  if (role === undefined) throw wrong(`${path}.role`, `one of ${ROLES.join(', ')}`, fields['role']);
  const transfer = objectAt(fields['transfer'], `${path}.transfer`, ['host', 'port']);
  return {
    id,
    incarnation: textAt(fields['incarnation'], `${path}.incarnation`, 128),
    role,
    url: urlAt(fields['url'], `${path}.url`),
    transfer: {
      host: textAt(transfer['host'], `${path}.transfer.host`, 255),
      port: integerAt(transfer['port'], `${path}.transfer.port`, 1, 65_535),
    },
    draining,
  };
}

function objectAt(value: unknown, path: string, names: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(path, 'an object', value);
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined) throw wrong(path, `an object of ${names.join(', ')}`, { [unknown]: '…' });
  return value as Fields;
}

function textAt(value: unknown, path: string, max: number): string {
  if (typeof value === 'string' && value.length >= 1 && value.length <= max) return value;
  throw wrong(path, `a string of 1 to ${max} characters`, value);
}

function integerAt(value: unknown, path: string, min: number, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw wrong(path, `an integer from ${min} to ${max}`, value);
}

function urlAt(value: unknown, path: string): string {
  const url = typeof value === 'string' && value.length <= 512 ? URL.parse(value) : null;
  if (url === null || url.protocol !== 'http:' || url.username !== '' || url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw wrong(path, 'a URL like http://host:port', value);
  }
  return url.origin;
}

function wrong(param: string, expectation: string, value: unknown): SluiceError {
  const text = JSON.stringify(value) ?? 'nothing';
  const got = value === undefined ? 'it is missing' : `got ${text.length > 80 ? `${text.slice(0, 80)}…` : text}`;
  return new SluiceError('invalid_request', `\`${param}\` must be ${expectation}; ${got}`, { param });
}
