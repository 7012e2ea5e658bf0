import { describe, expect, it } from 'vitest';
import { judgeServer } from './server.ts';

const info = (version: string, role = 'master') =>
  `# Server\r\nredis_version:${version}\r\nredis_mode:standalone\r\n# Replication\r\nrole:${role}\r\n`;

describe('judgeServer', () => {
  it.each(['7.0.0', '7.2.4', '8.0.1', '10.0.0'])('takes %s', (version) => {
    expect(judgeServer(info(version))).toEqual({ verdict: 'fit' });
  });

  it.each(['6.2.14', '2.8.0', '6.9'])('refuses %s', (version) => {
    expect(judgeServer(info(version))).toEqual({
      verdict: 'old',
      message: `redis_version is ${version}, expected 7.0 or later: upgrade the server`,
    });
  });

  it('refuses a replica, and what does not say what it is', () => {
    expect(judgeServer(info('7.0.15', 'slave'))).toMatchObject({ verdict: 'replica' });
    expect(judgeServer(info('7.0.15').replace('standalone', 'sentinel'))).toMatchObject({ verdict: 'sentinel' });
    expect(judgeServer('')).toMatchObject({ verdict: 'unreadable' });
    expect(judgeServer('other_redis_version:7.0.0')).toMatchObject({ verdict: 'unreadable' });
  });

  it('says how much of its cluster is down', () => {
    const cluster = (state: string, slots: number) =>
      `${info('7.0.15')}\ncluster_state:${state}\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:${slots}\r\n`;
    expect(judgeServer(cluster('ok', 16_384))).toEqual({ verdict: 'fit' });
    expect(judgeServer(cluster('fail', 5_461))).toMatchObject({
      verdict: 'down',
      message: expect.stringContaining('cluster_state is fail with 5461 of 16384 slots served: bring the nodes back'),
    });
  });
});
