/** What the server or the client library said, turned into a fault of the log. Pure. */
import { EventFault, type EventFaultCode } from '../fault.ts';

/** For messages: where we talk to, and what the stream of ours is called. */
export interface Place {
  readonly shown: string;
  readonly usesTls: boolean;
}

interface Meaning {
  readonly pattern: RegExp;
  readonly code: EventFaultCode;
  readonly say: (text: string, place: Place) => string;
}

/** First match wins. The text begins with the library's code, where there is one. */
const MEANINGS: readonly Meaning[] = [
  {
    pattern: /AUTHORIZATION_VIOLATION|AUTHENTICATION|BAD_AUTH|BAD_CREDS|ACCOUNT_EXPIRED|authorization violation/i,
    code: 'denied',
    say: (text) => `user, password, token or credentials are not accepted: set those of a user of the server; it says: ${text}`,
  },
  {
    pattern: /PERMISSIONS_VIOLATION|permissions violation/i,
    code: 'denied',
    say: (text) => `the user lacks a right: grant the subjects that docs/kv-events.md names; the server says: ${text}`,
  },
  {
    pattern: /10039|10076|JetStream not enabled/i,
    code: 'incompatible',
    say: (text) => `JetStream is off: start nats-server with -js, or enable it for the account; the server says: ${text}`,
  },
  {
    pattern: /10047|10023|10028|10077|insufficient|resource limits exceeded|maximum (?:messages|bytes) exceeded|maximum bytes/i,
    code: 'full',
    say: (text) => `the server has no room left: raise the limits of its JetStream, or lower kv.nats.maxBytes; it says: ${text}`,
  },
  {
    pattern: /10065|10058|subjects overlap|stream name already in use/i,
    code: 'incompatible',
    say: (text) => `a stream that is not ours has our name or subjects: delete it, or choose another prefix; the server says: ${text}`,
  },
  {
    pattern: /certificate|self.signed|altnames|unable to (?:verify|get)/i,
    code: 'denied',
    say: (text) => `TLS: the server's certificate is not accepted: set tls.ca; ${text}`,
  },
  {
    pattern: /SERVER_OPT_NA/,
    code: 'denied',
    say: (text, { usesTls }) => (usesTls ? `TLS: the server does not offer it: the url begins with nats://; ${text}` : text),
  },
  {
    pattern: /wrong version number|EPROTO|ERR_SSL|SSL routines|alert|secure TLS/i,
    code: 'denied',
    say: (text, { usesTls }) =>
      usesTls ? `TLS: the server wants a client certificate, or speaks it otherwise: set tls.cert and tls.key; ${text}` : text,
  },
  { pattern: /^TIMEOUT|CONNECTION_TIMEOUT|no answer/, code: 'timeout', say: () => 'no answer in time' },
  { pattern: /^503|no responders/i, code: 'unavailable', say: () => 'nobody takes the message: the stream is not there' },
  { pattern: /CONNECTION_CLOSED|DISCONNECT|CONNECTION_DRAINING/, code: 'unavailable', say: () => 'the connection broke' },
];

export function faultOf(error: unknown, place: Place): EventFault {
  if (error instanceof EventFault) return error;
  const text = reasonOf(error);
  const meaning = MEANINGS.find(({ pattern }) => pattern.test(text));
  return new EventFault(meaning?.code ?? 'unavailable', `NATS at ${place.shown}: ${meaning ? meaning.say(text, place) : text}`, error);
}

/** Code, number of the API's error and text, of an error and of what caused it. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error && typeof error.code === 'string' && !error.message.includes(error.code) ? `${error.code} ` : '';
  const api = 'api_error' in error ? apiNumber(error.api_error) : '';
  const chained = 'chainedError' in error && error.chainedError instanceof Error ? `: ${reasonOf(error.chainedError)}` : '';
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return `${code}${api}${error.message}${chained}`;
}

function apiNumber(api: unknown): string {
  return typeof api === 'object' && api !== null && 'err_code' in api ? `${String(api.err_code)} ` : '';
}
