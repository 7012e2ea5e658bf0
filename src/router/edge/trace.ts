/**
 * W3C Trace Context (https://www.w3.org/TR/trace-context-2/) of a client's request: what is well formed is read, and kept as it goes to
 * engines while the router makes no spans of its own; what is malformed goes nowhere. Pure.
 */
import type { IncomingHttpHeaders } from 'node:http';

export interface TraceContext {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** The client's span: 16 lower-case hexadecimal digits. */
  readonly parentId: string;
  /** Those that are known: 1 = sampled, 2 = the trace id is random. */
  readonly flags: number;
  /** Header line of `tracestate` with its line end; '' = none. */
  readonly state: string;
  /** Header lines for engines as the client sent them, each with its line end. */
  readonly lines: string;
}

/** Version, trace id, parent id, flags; what may follow in versions to come. */
const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const OLDEST = '00';
const INVALID_VERSION = 'ff';
const ZEROS = /^0+$/;
/** Of a version that is not known here, the flags that are: sampled, and random trace id. */
const KNOWN_FLAGS = 0x03;

const KEY = /^[a-z0-9][a-z0-9_\-*/@]{0,255}$/;
const VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
const MAX_MEMBERS = 32;
const MAX_STATE = 512;
/** Longer entries go first when there is too much. */
const LONG_MEMBER = 128;

/** Null when there is no context, or none that can be understood. */
export function traceOf(headers: IncomingHttpHeaders): TraceContext | null {
  const parent = parentOf(headers['traceparent']);
  if (parent === null) return null;
  const members = stateOf(headers['tracestate']);
  const state = members === '' ? '' : `tracestate: ${members}\r\n`;
  const { text, traceId, parentId, flags } = parent;
  return { traceId, parentId, flags, state, lines: `traceparent: ${text}\r\n${state}` };
}

type Parent = Pick<TraceContext, 'traceId' | 'parentId' | 'flags'> & { readonly text: string };

function parentOf(given: unknown): Parent | null {
  // A header that came twice is joined by a comma, and does not match.
  const match = typeof given === 'string' ? PARENT.exec(given) : null;
  if (match === null) return null;
  const [text, version = '', traceId = '', parentId = '', digits = '', more] = match;
  if (version === INVALID_VERSION || ZEROS.test(traceId) || ZEROS.test(parentId)) return null;
  const flags = Number.parseInt(digits, 16) & KNOWN_FLAGS;
  if (version === OLDEST) return more === undefined ? { text, traceId, parentId, flags } : null;
  return { text: `${OLDEST}-${traceId}-${parentId}-${flags.toString(16).padStart(2, '0')}`, traceId, parentId, flags };
}

/** '' when there is none, or it is malformed. */
function stateOf(given: unknown): string {
  const text = Array.isArray(given) ? given.join(',') : given;
  if (typeof text !== 'string') return '';
  const members = text
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  const keys = new Set(members.map((member) => member.split('=', 1)[0]));
  if (members.length > MAX_MEMBERS || keys.size < members.length || !members.every(isMember)) return '';
  return shortened(members).join(',');
}

function isMember(member: string): boolean {
  const at = member.indexOf('=');
  return at > 0 && KEY.test(member.slice(0, at)) && VALUE.test(member.slice(at + 1));
}

/** Whole entries are left out: long ones first, then from the end, which is the oldest. */
function shortened(members: readonly string[]): readonly string[] {
  const left = [...members];
  const fits = () => left.join(',').length <= MAX_STATE;
  for (let at = left.length - 1; at >= 0 && !fits(); at -= 1) if ((left[at]?.length ?? 0) > LONG_MEMBER) left.splice(at, 1);
  while (!fits()) left.pop();
  return left;
}
