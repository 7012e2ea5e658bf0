import { describe, expect, it } from 'vitest';
import { type RedisServers, readSettings } from './settings.ts';

describe('readSettings', () => {
  it('reads a single server', () => {
    expect(readSettings({ urls: ['redis://me:p%40ss@cache.example:7000/3'] })).toEqual({
      kind: 'single',
      addresses: [{ host: 'cache.example', port: 7000 }],
      path: null,
      db: 3,
      username: 'me',
      password: 'p@ss',
      tls: null,
      sentinel: null,
      shown: 'redis://cache.example:7000/3',
    });
    expect(readSettings({ urls: ['unix:///run/r%20s.sock'] })).toMatchObject({ path: '/run/r s.sock', addresses: [] });
    expect(readSettings({ urls: ['rediss://[::1]'], tls: { ca: 'c' } })).toMatchObject({
      addresses: [{ host: '::1', port: 6379 }],
      tls: { ca: 'c' },
    });
  });

  it('reads sentinels and clusters', () => {
    const sentinels: RedisServers = {
      kind: 'sentinel',
      urls: ['redis://a', 'redis://b:1'],
      sentinelName: 'main',
      sentinelPassword: 's',
      password: 'p',
    };
    expect(readSettings(sentinels)).toMatchObject({
      addresses: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 1 },
      ],
      sentinel: { name: 'main', username: null, password: 's' },
      password: 'p',
      shown: 'redis://a, redis://b:1',
    });
    expect(readSettings({ kind: 'cluster', urls: ['rediss://a', 'rediss://b'] })).toMatchObject({ kind: 'cluster', tls: {} });
  });

  it.each<[RedisServers, string]>([
    [{ urls: [] }, 'urls: expected one for kind single, got 0'],
    [{ urls: ['redis://a', 'redis://b'] }, 'urls: expected one for kind single, got 2'],
    [{ urls: ['cache 6379'] }, 'urls[0]: expected redis://host:port/db, rediss://host:port/db or unix:///path, got what is no URL'],
    [
      { urls: ['http://u:secret@a:1'] },
      'urls[0]: expected redis://host:port/db, rediss://host:port/db or unix:///path, got the scheme http:',
    ],
    [{ urls: ['me:secret@cache:6379'] }, 'or unix:///path, got the scheme me:'],
    [{ urls: ['redis:///0'] }, 'urls[0]: expected redis://host:port/db'],
    [{ urls: ['redis://a/x'] }, 'urls[0]: expected the number of a database after the port, got redis://a/x'],
    [{ urls: ['redis://a?db=1'] }, 'urls[0]: expected nothing after the path, got ?db=1'],
    [{ urls: ['redis://a'], tls: {} }, 'tls: given, but urls[0] is redis://a: expected rediss://'],
    [{ kind: 'cluster', urls: ['redis://a', 'rediss://b'] }, 'urls[1]: expected redis:// as in urls[0], got rediss://b'],
    [{ kind: 'cluster', urls: ['redis://a/1'] }, 'urls[0]: a cluster has database 0 alone, got 1'],
    [{ kind: 'cluster', urls: ['unix:///a'] }, 'urls[0]: expected redis:// or rediss:// for kind cluster, got unix:///a'],
    [{ kind: 'sentinel', urls: ['redis://a'] }, 'sentinelName: missing, expected the name of the primary'],
    [{ urls: ['redis://a'], sentinelName: 'main' }, 'sentinelName: given for kind single, expected kind sentinel'],
  ])('refuses %j', (servers, message) => {
    expect(() => readSettings(servers)).toThrow(message);
    expect(() => readSettings(servers)).toThrow(RangeError);
  });

  it('shows no password', () => {
    const read = () => readSettings({ urls: ['redis://me:secret@a/x'] });
    expect(read).toThrow('got redis://a/x');
    expect(read).not.toThrow('secret');
  });
});
