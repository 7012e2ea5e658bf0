/** Request headers that have a meaning for the router. Everything else, `x-sluice-*` above all, stays at the edge. Pure. */
import type { IncomingHttpHeaders } from 'node:http';
import { SluiceError } from '../../shared/index.ts';

const REQUEST_ID = /^[A-Za-z0-9._:/+=@-]{1,128}$/;
const SALT = /^[\x21-\x7e]{1,128}$/;

/** The client's id when it is one that may stand in headers, logs and paths; else a new one. */
export function requestIdOf(headers: IncomingHttpHeaders, newId: () => string): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : newId();
}

/** @throws SluiceError invalid_request when the header is there but cannot be a salt: guessing would share KV between tenants */
export function saltOf(headers: IncomingHttpHeaders, saltHeader: string | null): string {
  if (saltHeader === null) return '';
  const given = headers[saltHeader];
  if (given === undefined || given === '') return '';
  if (typeof given === 'string' && SALT.test(given)) return given;
  throw new SluiceError('invalid_request', `the header ${saltHeader} must have 1 to 128 printable ASCII characters without spaces`, {
    param: saltHeader,
  });
}

/** Who shares a place in the queue: the salt if there is one, else the credential, else everybody together. */
export function tenantOf(headers: IncomingHttpHeaders, salt: string): string {
  return salt !== '' ? salt : (headers.authorization ?? '');
}
