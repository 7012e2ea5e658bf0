/** `kv.store`: the tier below host memory, of a deployment and of a KVTier. */
import { block, decimalNumber, duration, oneOf, quantity, text } from '../fields.ts';
import { type Rule, ruled } from '../rule.ts';
import { objectName } from './names.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const MIB = 2 ** 20;
const TIB = 2 ** 40;

const directory = block({
  path: text({
    expected: 'an absolute path of at most 512 characters, such as /var/lib/sluice/kv',
    pattern: /^\/[^\0]*$/,
    max: 512,
  }).describe(
    'Absolute path of a folder on the disk of the instance; instances of one machine may share it. On Kubernetes an `emptyDir` is mounted there, which ends with the pod.',
  ),
});

const secretKey = block({
  name: objectName.describe('Name of the Secret, in the namespace of the deployment.'),
  key: text({
    expected: 'a key of a Secret: at most 253 letters, digits, "-", "_" and "."',
    pattern: /^[-._a-zA-Z0-9]{1,253}$/,
    max: 253,
  }).describe('Key in it.'),
});

const redis = block({
  url: text({
    expected: 'an address such as redis://host:6379/0, rediss://host:6380 or unix:///path/of.sock, without a password',
    // Nobody who may read the resource is to read a password.
    pattern: /^(?:rediss?:\/\/(?:[^\s:@/]*@)?[^\s@/]+(?:\/\d{1,5})?|unix:\/\/\/[^\s@]+)$/,
    max: 512,
  }).describe(
    'Address of a Redis 7 or later: `redis://host:port/db`, `rediss://` for TLS, `unix:///path`. A user may stand before the host, a password may not: it comes from `passwordSecret`, or on one machine from the environment variable `SLUICE_STORE_PASSWORD`.',
  ),
  passwordSecret: secretKey.optional().describe('Where the password is. Used on Kubernetes; the process platform ignores it.'),
  ttl: duration({ min: MINUTE, max: DAY }).default('1h').describe('How long a value lives that nobody reads, as a duration, 1m to 24h.'),
});

const fields = {
  directory: directory.optional().describe('Keep it in a folder on disk.'),
  redis: redis.optional().describe('Keep it in Redis, shared by all instances of the deployment.'),
  capacity: quantity({ min: MIB, max: 64 * TIB })
    .default('1Gi')
    .describe('Bytes in the store at most, 1Mi to 64Ti; the longest unused go first, pinned ones last.'),
  bandwidth: quantity({ min: 64 * 2 ** 10, max: TIB })
    .optional()
    .describe('Bytes per second that each instance moves to the store, and from it, at most, 64Ki to 1Ti. Absent: as fast as it goes.'),
  tenantShare: decimalNumber({ min: 0.01, max: 1 })
    .default(1)
    .describe('Share of the capacity that one tenant (one value of `router.saltHeader`) may have, 0.01 to 1.'),
};

const onePlace: Rule<{ readonly directory?: unknown; readonly redis?: unknown }> = {
  field: '',
  expected: 'one of directory and redis: say where the store is, and only one place',
  cel: 'has(self.directory) != has(self.redis)',
  holds: ({ directory: folder, redis: server }) => (folder === undefined) !== (server === undefined),
};

export const kvStore = ruled(block(fields), [onePlace]);

/** `store` of a KVTier: as one of a deployment, and whose blocks lie together. */
export const tierStore = ruled(
  block({
    ...fields,
    directory: directory.optional().describe('Keep it in a folder on disk: each part in a folder of its own below `path`.'),
    redis: redis.optional().describe('Keep it in Redis, shared by all instances that use a part.'),
    scope: oneOf(['Deployment', 'Model'])
      .default('Deployment')
      .describe(
        'Whose blocks lie together in one part: those of each `Deployment` alone, or of all that name this tier and have the same `Model` (equal `model.source`, `model.revision`, `kv.blockTokens`, and all of `engine` but the image).',
      ),
    capacity: fields.capacity.describe(
      'Bytes in each part of the store at most, 1Mi to 64Ti; the longest unused go first, pinned ones last.',
    ),
    tenantShare: fields.tenantShare.describe(
      'Share of the capacity of a part that one tenant (one value of `router.saltHeader`) may have, 0.01 to 1.',
    ),
  }),
  [onePlace],
);
