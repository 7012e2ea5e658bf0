/** One line of a watch: pure. */
import { readStatus, type ServerStatus } from '../failure.ts';
import { asObject, type KubeObject, type Resource } from '../object.ts';

export type WatchEvent<T extends KubeObject> =
  | { readonly kind: 'present'; readonly object: T; readonly resourceVersion: string }
  | { readonly kind: 'gone'; readonly object: T; readonly resourceVersion: string }
  | { readonly kind: 'bookmark'; readonly resourceVersion: string }
  | { readonly kind: 'error'; readonly status: ServerStatus }
  | { readonly kind: 'unreadable'; readonly why: string };

export function readEvent<T extends KubeObject>(resource: Resource<T>, line: string): WatchEvent<T> {
  let event: { readonly type?: unknown; readonly object?: unknown };
  try {
    event = Object(JSON.parse(line));
  } catch (error) {
    return { kind: 'unreadable', why: error instanceof Error ? error.message : String(error) };
  }
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      return changed('present', resource, event.object);
    case 'DELETED':
      return changed('gone', resource, event.object);
    case 'BOOKMARK': {
      const resourceVersion: unknown = Object(event.object).metadata?.resourceVersion;
      return typeof resourceVersion === 'string' && resourceVersion !== ''
        ? { kind: 'bookmark', resourceVersion }
        : { kind: 'unreadable', why: 'a bookmark without a resourceVersion' };
    }
    case 'ERROR': {
      const code: unknown = Object(event.object).code;
      return { kind: 'error', status: readStatus(typeof code === 'number' ? code : 500, JSON.stringify(event.object ?? null)) };
    }
    default:
      return { kind: 'unreadable', why: `an event of type ${String(event.type)}` };
  }
}

function changed<T extends KubeObject>(kind: 'present' | 'gone', resource: Resource<T>, value: unknown): WatchEvent<T> {
  const object = asObject(resource, value);
  if (object === null) return { kind: 'unreadable', why: `an event whose object is no ${resource.kind}` };
  return { kind, object, resourceVersion: object.metadata.resourceVersion };
}
