/** What a server says about itself, judged: may it hold the directory? */

/**
 * 7.0 is the first whose scripts declare flags: one that may write is refused before it starts when memory is full, never half-way, while
 * look-ups, withdrawals and renewals still run. It is also the oldest that this is tested with.
 */
export const OLDEST_REDIS = [7, 0] as const;

/** `down`: it is one of a cluster that does not serve now. */
export type Unfitness = 'old' | 'replica' | 'sentinel' | 'unreadable' | 'down';

export type ServerVerdict = { readonly verdict: 'fit' } | { readonly verdict: Unfitness; readonly message: string };

/** @param info the reply of `INFO`, with the sections server and replication, and of a cluster also that of `CLUSTER INFO` */
export function judgeServer(info: string): ServerVerdict {
  const version = fieldOf(info, 'redis_version');
  const match = /^(\d+)\.(\d+)/.exec(version ?? '');
  if (!match) {
    return { verdict: 'unreadable', message: 'INFO has no redis_version: expected Redis 7.0 or later, or what is compatible with it' };
  }
  const [major, minor] = [Number(match[1]), Number(match[2])];
  if (major < OLDEST_REDIS[0] || (major === OLDEST_REDIS[0] && minor < OLDEST_REDIS[1])) {
    return { verdict: 'old', message: `redis_version is ${version}, expected ${OLDEST_REDIS.join('.')} or later: upgrade the server` };
  }
  if (fieldOf(info, 'role') === 'slave') {
    return {
      verdict: 'replica',
      message: 'the server is a replica, expected the primary: give its address, or kind sentinel with the addresses of the sentinels',
    };
  }
  if (fieldOf(info, 'redis_mode') === 'sentinel') {
    return { verdict: 'sentinel', message: 'the server is a sentinel, expected a primary: set kind sentinel and sentinelName' };
  }
  const state = fieldOf(info, 'cluster_state') ?? 'ok';
  if (state !== 'ok') {
    const slots = fieldOf(info, 'cluster_slots_ok') ?? '?';
    return {
      verdict: 'down',
      message: `cluster_state is ${state} with ${slots} of 16384 slots served: bring the nodes back that are away, or assign the slots (redis-cli --cluster fix)`,
    };
  }
  return { verdict: 'fit' };
}

function fieldOf(info: string, name: string): string | null {
  return new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1]?.trim() ?? null;
}
