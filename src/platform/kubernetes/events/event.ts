/** `events.k8s.io/v1` objects, and which happenings are the same one again: pure. */
import { createHash } from 'node:crypto';
import type { Draft, KubeObject, Resource } from '../object.ts';

export interface KubeEvent extends KubeObject {
  readonly eventTime: string;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly regarding: ObjectReference;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
}

export const EVENTS: Resource<KubeEvent> = { group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', namespaced: true };

/** Something that happened to an object, for the person who looks at it. */
export interface Happening {
  readonly regarding: KubeObject;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, from a fixed list: people filter and alert on it. */
  readonly reason: string;
  /** What was being done, CamelCase. */
  readonly action: string;
  /** For people. Cut to 1,024 bytes, which is what the API server takes. */
  readonly note: string;
}

const WORD = /^[A-Z][A-Za-z0-9]{0,127}$/;
const MAX_NOTE_BYTES = 1024;

/** Throws a RangeError for a reason or an action that is no CamelCase word. */
export function checkHappening({ reason, action }: Happening): void {
  for (const [field, word] of Object.entries({ reason, action }))
    if (!WORD.test(word)) throw new RangeError(`${field} of an event is "${word}", expected one CamelCase word of at most 128 characters`);
}

/** Equal for what counts as the same happening again. */
export function seriesKey({ regarding, type, reason, action, note }: Happening): string {
  return JSON.stringify([regarding.metadata.uid, type, reason, action, cutNote(note)]);
}

/** An event name is unique by the object's name and what happened since when. */
export function eventName(happening: Happening, sinceWallMs: number): string {
  const digest = createHash('sha256')
    .update(`${seriesKey(happening)} ${sinceWallMs}`)
    .digest('hex')
    .slice(0, 16);
  return `${happening.regarding.metadata.name.slice(0, 200).replace(/[^a-z0-9]+$/, '')}.${digest}`;
}

/** Events of objects without a namespace are kept in `default`. */
export function eventNamespace({ regarding }: Happening): string {
  return regarding.metadata.namespace ?? 'default';
}

export interface Reporter {
  /** Name of the controller, `serving.sluice.dev/operator`. */
  readonly controller: string;
  /** Of this process. */
  readonly instance: string;
}

export function eventDraft(
  happening: Happening,
  { controller, instance }: Reporter,
  first: { name: string; time: string },
): Draft<KubeEvent> {
  const { apiVersion, kind, metadata } = happening.regarding;
  const { name, namespace, uid } = metadata;
  return {
    metadata: { name: first.name, namespace: eventNamespace(happening) },
    eventTime: first.time,
    type: happening.type,
    reason: happening.reason,
    action: happening.action,
    note: cutNote(happening.note),
    regarding: { apiVersion, kind, name, uid, ...(namespace === undefined ? {} : { namespace }) },
    reportingController: controller,
    reportingInstance: instance.slice(0, 128),
  };
}

function cutNote(note: string): string {
  const bytes = Buffer.from(note, 'utf8');
  if (bytes.byteLength <= MAX_NOTE_BYTES) return note;
  // Not in the middle of a character.
  const cut = bytes
    .subarray(0, MAX_NOTE_BYTES - 3)
    .toString('utf8')
    .replace(/\uFFFD$/, '');
  return `${cut}…`;
}
