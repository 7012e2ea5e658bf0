/** What the server or the connection said, turned into a fault of the directory. */
import { DirectoryFault, type DirectoryFaultCode } from '../shared/fault.ts';

interface Meaning {
  readonly pattern: RegExp;
  readonly code: DirectoryFaultCode;
  /** Known before anything was changed. */
  readonly changedNothing?: true;
  readonly say: (text: string, place: Place) => string;
}

/** For messages: where we talk to, and under which prefix. */
export interface Place {
  readonly shown: string;
  readonly prefix: string;
  readonly usesTls: boolean;
  readonly isCluster: boolean;
}

/** First match wins. */
const MEANINGS: readonly Meaning[] = [
  {
    pattern: /^FOREIGN (.+)$/s,
    code: 'incompatible',
    changedNothing: true,
    say: (text) =>
      `key ${JSON.stringify(text.slice('FOREIGN '.length))} holds what this version did not write (expected a string that begins with S1): delete the key, ` +
      'or choose another prefix; nothing was changed',
  },
  {
    pattern: /^NOPERM|The user executing the script can't/,
    code: 'denied',
    say: (text, { prefix }) =>
      `the ACL user lacks a right: grant ~${prefix}* and the commands that docs/kv-directory.md names; the server says: ${text}`,
  },
  {
    pattern: /WRONGTYPE|user_script|Error (?:running|compiling) script/,
    code: 'incompatible',
    say: (text, { prefix }) => `a key under ${prefix} is not ours: delete it, or choose another prefix; the server says: ${text}`,
  },
  {
    pattern: /^(?:WRONGPASS|NOAUTH)|invalid password|called without any password/,
    code: 'denied',
    changedNothing: true,
    say: (text) => `username or password is not accepted: set the ones of an ACL user of the server; it says: ${text}`,
  },
  {
    pattern: /^OOM/,
    code: 'full',
    changedNothing: true,
    say: (text) => `the server's maxmemory is used up: raise it, or lower blockTtlMs; it says: ${text}`,
  },
  {
    pattern: /^READONLY/,
    code: 'readonly',
    changedNothing: true,
    say: () => 'the server has become a replica, expected the primary: give its address, or kind sentinel',
  },
  {
    pattern: /^(?:MOVED|ASK) /,
    code: 'incompatible',
    changedNothing: true,
    say: (text) => `the server is a node of a cluster, and another one has our keys: set kind cluster; it says: ${text}`,
  },
  {
    pattern: /cluster support disabled/,
    code: 'incompatible',
    changedNothing: true,
    say: (text) => `the server is no cluster: leave kind cluster out; it says: ${text}`,
  },
  {
    pattern: /^CLUSTERDOWN/,
    code: 'unavailable',
    changedNothing: true,
    say: (text, { prefix }) =>
      `the cluster does not serve the slot of ${prefix}*; bring the node back that has it, or assign it (redis-cli --cluster fix); it says: ${text}`,
  },
  {
    pattern: /Unknown RESP type/,
    code: 'incompatible',
    say: () =>
      'what listens there does not speak as Redis does: check host and port; if the server wants TLS, the url begins with rediss://',
  },
  {
    pattern: /^(?:LOADING|BUSY|MASTERDOWN|TRYAGAIN|NOREPLICAS|MISCONF)/,
    code: 'unavailable',
    say: (text) => `the server says: ${text}`,
  },
  { pattern: /isn't writeable|Cluster isn't ready/, code: 'unavailable', changedNothing: true, say: () => 'the connection broke' },
  {
    pattern: /max retries per request|Connection is closed|due to connection close|Socket timeout/,
    code: 'unavailable',
    say: () => 'the connection broke',
  },
  {
    pattern: /certificate|self.signed|altnames|unable to (?:verify|get)/i,
    code: 'denied',
    say: (text) => `TLS: the server's certificate is not accepted: set tls.ca and tls.servername; ${text}`,
  },
  {
    pattern: /ETIMEDOUT/,
    code: 'unavailable',
    say: (text, { usesTls }) => (usesTls ? `${text}; does the server speak TLS on this port? If not, the url begins with redis://` : text),
  },
  {
    pattern: /wrong version number|packet length too long|EPROTO|ERR_SSL|SSL routines/i,
    code: 'denied',
    say: (text, { usesTls }) =>
      usesTls
        ? `TLS: the server does not speak it on this port, or wants a client certificate: check the port, tls.cert and tls.key; ${text}`
        : text,
  },
];

/** @param maybeApplied whether the command may have been carried out */
export function faultOf(error: unknown, place: Place, maybeApplied: boolean): DirectoryFault {
  if (error instanceof DirectoryFault) return error;
  const text = reasonOf(error);
  const meaning = MEANINGS.find(({ pattern }) => pattern.test(text));
  const message = meaning ? meaning.say(text, place) : text;
  return new DirectoryFault(meaning?.code ?? 'unavailable', `Redis at ${place.shown}: ${message}`, {
    maybeApplied: maybeApplied && meaning?.changedNothing !== true,
    cause: error,
  });
}

/** Errors of several attempts (IPv6, IPv4) and of whole clusters hold the reason inside. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = 'lastNodeError' in error && error.lastNodeError ? error.lastNodeError : null;
  if (inner) return reasonOf(inner);
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error.message;
}
