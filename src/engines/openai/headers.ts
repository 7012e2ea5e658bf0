/** The `x-sluice-*` request headers of docs/engine-protocol.md, checked. Pure. */
import type { IncomingHttpHeaders } from 'node:http';
import type { HandOffTicket } from '../port.ts';
import { type Body, invalid, isObject, readTokenIds } from './fields.ts';

export interface Directions {
  readonly requestId: string;
  readonly prefillLeg: boolean;
  /** The stream is another instance's as yet: take its place, generate nothing. Never without a session. */
  readonly holdLeg: boolean;
  /** Name under which the running request can be moved; null = it cannot. */
  readonly session: SessionName | null;
  readonly ticket: HandOffTicket | null;
  readonly resumed: Int32Array;
  /** Put a comment line with token ids before each event. */
  readonly tokenComments: boolean;
  readonly seed: number | null;
  readonly salt: string;
  /** Milliseconds until the first byte; null = none. */
  readonly deadlineMs: number | null;
  /** Milliseconds for pulling KV; null = the server's own limit. */
  readonly pullMs: number | null;
  /** What usage calls cached: the prefill instance knows it, this one only sees a hand-off. Null = this one's own count. */
  readonly cachedTokens: number | null;
  /** Unix seconds. */
  readonly created: number | null;
}

/** One owner of a stream: `generation` counts its owners, and is the fencing token of a move. */
export interface SessionName {
  readonly id: string;
  readonly generation: number;
}

export interface DirectionContext {
  readonly vocabularySize: number;
  readonly contextTokens: number;
  readonly newId: () => string;
}

const SESSION = /^([\w.-]{1,128})\/(\d{1,9})$/;
const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;
const LEASE = /^[\x21-\x7e]{0,128}$/;
const MAX_SALT = 256;
const DAY_MS = 86_400_000;
const NO_TOKENS = new Int32Array(0);

function one(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(',') : value;
}

function integer(headers: IncomingHttpHeaders, name: string, min: number, max: number): number | null {
  const text = one(headers, name);
  if (text === undefined) return null;
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max)
    throw invalid(name, `an integer from ${min} to ${max}`, text);
  return value;
}

function ticketOf(text: string | undefined): HandOffTicket | null {
  if (text === undefined) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Falls through to the exact error below.
  }
  if (!isObject(parsed)) throw invalid('x-sluice-ticket', 'a HandOffTicket as JSON', text);
  return readTicket(parsed);
}

/** @throws SluiceError invalid_request */
export function readTicket(parsed: Body): HandOffTicket {
  const blocks = ticketCount(parsed, 'blocks', Number.MAX_SAFE_INTEGER);
  const lease = ticketText(parsed, 'lease');
  // The transfer takes no other name.
  if (!LEASE.test(lease) || (lease === '' && blocks > 0))
    throw invalid('x-sluice-ticket.lease', 'up to 128 printable ASCII characters without blanks, and not empty unless blocks is 0', lease);
  return {
    instance: ticketText(parsed, 'instance'),
    incarnation: ticketText(parsed, 'incarnation'),
    host: ticketText(parsed, 'host'),
    port: ticketCount(parsed, 'port', 65_535),
    lease,
    blocks,
    bytes: ticketCount(parsed, 'bytes', Number.MAX_SAFE_INTEGER),
    leaseMs: ticketCount(parsed, 'leaseMs', Number.MAX_SAFE_INTEGER),
  };
}

function ticketText(ticket: Body, field: string): string {
  const value = ticket[field];
  if (typeof value !== 'string' || value.length > 512)
    throw invalid(`x-sluice-ticket.${field}`, 'a string of at most 512 characters', value);
  return value;
}

function ticketCount(ticket: Body, field: string, max: number): number {
  const value = ticket[field];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max)
    throw invalid(`x-sluice-ticket.${field}`, `an integer from 0 to ${max}`, value);
  return value;
}

function resumedOf(text: string | undefined, context: DirectionContext): Int32Array {
  if (text === undefined || text === '') return NO_TOKENS;
  const ids = text.split(',', context.contextTokens + 1);
  if (ids.length > context.contextTokens) throw invalid('x-sluice-resume', `at most ${context.contextTokens} token ids`, `more of them`);
  const numbers = ids.map((id) => (/^\d{1,10}$/.test(id) ? Number(id) : id));
  return readTokenIds(numbers, 'x-sluice-resume', context.vocabularySize);
}

function sessionOf(text: string | undefined): SessionName | null {
  if (text === undefined) return null;
  const [, id, generation] = SESSION.exec(text) ?? [];
  if (id === undefined || generation === undefined)
    throw invalid('x-sluice-session', 'a name of 1 to 128 letters, digits, "_", "." or "-", a "/" and a number', text);
  return { id, generation: Number(generation) };
}

/** @throws SluiceError invalid_request with the header as `param` */
export function readDirections(headers: IncomingHttpHeaders, context: DirectionContext): Directions {
  const leg = one(headers, 'x-sluice-leg');
  if (leg !== undefined && leg !== 'prefill' && leg !== 'hold') throw invalid('x-sluice-leg', '"prefill", "hold" or absent', leg);
  const session = sessionOf(one(headers, 'x-sluice-session'));
  if (leg === 'hold' && session === null) throw invalid('x-sluice-session', 'present with x-sluice-leg: hold', session);
  const tokens = one(headers, 'x-sluice-tokens');
  if (tokens !== undefined && tokens !== '1' && tokens !== '0') throw invalid('x-sluice-tokens', '0 or 1', tokens);
  const salt = one(headers, 'x-sluice-salt') ?? '';
  if (salt.length > MAX_SALT) throw invalid('x-sluice-salt', `at most ${MAX_SALT} characters long`, salt);
  const requestId = one(headers, 'x-request-id');
  return {
    requestId: requestId !== undefined && REQUEST_ID.test(requestId) ? requestId : context.newId(),
    prefillLeg: leg === 'prefill',
    holdLeg: leg === 'hold',
    session,
    ticket: ticketOf(one(headers, 'x-sluice-ticket')),
    resumed: resumedOf(one(headers, 'x-sluice-resume'), context),
    tokenComments: tokens === '1',
    seed: integer(headers, 'x-sluice-seed', 0, 0xffff_ffff),
    salt,
    deadlineMs: integer(headers, 'x-sluice-deadline-ms', 1, DAY_MS),
    pullMs: integer(headers, 'x-sluice-pull-ms', 1, DAY_MS),
    cachedTokens: integer(headers, 'x-sluice-cached-tokens', 0, context.contextTokens),
    created: integer(headers, 'x-sluice-created', 0, Number.MAX_SAFE_INTEGER),
  };
}
