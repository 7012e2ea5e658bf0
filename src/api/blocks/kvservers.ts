/** `kv.redis` and `kv.nats`: the servers that instances and routers of a deployment share. */
import { block, duration, list, oneOf, quantity, text, wholeNumber } from '../fields.ts';
import { ruled } from '../rule.ts';
import { objectName, printable } from './names.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const MINUTE = 60_000;
const MAX_URLS = 16;

/** What must not stand in a resource: words and PEM texts by well-known names. */
function credentials(words: string) {
  const one = block({
    secret: objectName.optional().describe('Name of a Secret in the namespace of the deployment. Only on Kubernetes.'),
    folder: printable(1_024).optional().describe('A folder with a file for each, on the machine or in the container.'),
    env: text({
      expected: 'the beginning of names of environment variables: upper-case letters, digits and "_", such as KV',
      pattern: /^[A-Z][A-Z0-9_]{0,63}$/,
      max: 64,
    })
      .optional()
      .describe('What names of environment variables begin with: `KV` for `KV_PASSWORD`, `KV_CA`.'),
  });
  const given = ({ secret, folder, env }: { secret?: unknown; folder?: unknown; env?: unknown }) =>
    [secret, folder, env].filter((way) => way !== undefined).length;
  const cel = '[has(self.secret), has(self.folder), has(self.env)].filter(given, given).size() == 1';
  return ruled(one, [{ field: '', expected: 'one of secret, folder and env', cel, holds: (value) => given(value) === 1 }])
    .optional()
    .describe(
      `Where user, password and certificates are: one of \`secret\`, \`folder\` and \`env\`. Keys are ${words}; those that are there are used.`,
    );
}

function urls(expected: string, pattern: RegExp, what: string) {
  return ruled(list(text({ expected, pattern, max: 512 }), 'addresses', MAX_URLS), [
    { field: '', expected: `a list of 1 to ${MAX_URLS} addresses`, cel: 'self.size() > 0', holds: (given) => given.length > 0 },
  ]).describe(what);
}

const name = (what: string) =>
  text({ expected: 'a name of 1 to 128 characters without blanks', pattern: /^[^\s\p{Cc}]{1,128}$/u, max: 128 })
    .optional()
    .describe(what);

const redisUrl = 'redis://host:port/db, rediss://host:port/db for TLS, or unix:///path, without user and password';
const kinds = ['single', 'sentinel', 'cluster'] as const;

export const redis = ruled(
  block({
    kind: oneOf(kinds).default('single').describe('`single` server, a primary behind Redis Sentinel (`sentinel`), or a Redis `cluster`.'),
    urls: urls(
      redisUrl,
      /^(?:rediss?:\/\/[^@\s/?#]{1,300}(?:\/[0-9]{0,5})?|unix:\/\/\/[^\s?#]{1,400})$/,
      'Addresses, 1 to 16: of the server, of the sentinels, or of nodes of the cluster, such as `redis://redis.kv.svc:6379`.',
    ),
    sentinelName: name('Name of the primary that the sentinels watch.'),
    credentials: credentials('`username`, `password`, `sentinel-password`, `ca.crt`, `tls.crt` and `tls.key`'),
    servername: name('Name that the certificate of the server must hold; absent: the host of the address.'),
    prefix: text({
      expected: 'at most 100 printable characters without blanks and braces',
      pattern: /^[\x21-\x7a|~]{0,100}$/,
      max: 100,
    })
      .default('sluice:')
      .describe('Before every key.'),
    budget: duration({ min: 1, max: 1_000 })
      .default('5ms')
      .describe('Longest time that a request waits for Redis, as a duration, 1ms to 1s; then it goes on without.'),
  }),
  [
    {
      field: 'sentinelName',
      expected: 'the name of the primary with kind sentinel, and absent with every other kind',
      cel: "(self.kind == 'sentinel') == has(self.sentinelName)",
      holds: ({ kind, sentinelName }) => (kind === 'sentinel') === (sentinelName !== undefined),
    },
    {
      field: 'urls',
      expected: 'one address with kind single: remove the others, or set kind',
      cel: "self.kind != 'single' || self.urls.size() == 1",
      holds: ({ kind, urls: given }) => kind !== 'single' || given.length === 1,
    },
  ],
)
  .optional()
  .describe(
    'Redis (7.0 or later) that keeps who holds which block, for all instances and routers. Absent: routers know it from each instance. See docs/kv-directory.md.',
  );

export const nats = block({
  urls: urls(
    'nats://host:port, or tls://host:port for TLS, without user and password',
    /^(?:nats|tls):\/\/[^@\s/?#]{1,300}\/?$/,
    'Addresses, 1 to 16, of servers of one cluster, such as `nats://nats.kv.svc:4222`.',
  ),
  credentials: credentials('`username` and `password`, or `token`, or `nats.creds`; `ca.crt`, `tls.crt` and `tls.key`'),
  prefix: text({ expected: 'at most 32 letters, digits and "-"', pattern: /^[A-Za-z0-9-]{1,32}$/, max: 32 })
    .default('sluice')
    .describe('Before every subject and the names of the streams, 1 to 32 letters, digits and "-".'),
  maxBytes: quantity({ min: MIB, max: 64 * GIB })
    .default('64Mi')
    .describe('Memory of the server for the event log, 1Mi to 64Gi; the oldest goes when it is full.'),
  maxAge: duration({ min: MINUTE, max: 24 * 60 * MINUTE })
    .default('10m')
    .describe('How long events stay in the log, as a duration, 1m to 24h.'),
  replicas: wholeNumber({ min: 1, max: 5, unit: 'servers' })
    .default(1)
    .describe('Servers of a NATS cluster that keep the streams, 1 to 5.'),
})
  .optional()
  .describe(
    'NATS (2.9 or later, with JetStream) over which instances tell what they hold. Absent: each router hears it from each instance. See docs/kv-events.md.',
  );
