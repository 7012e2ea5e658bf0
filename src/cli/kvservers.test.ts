import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openKvServers, readKvSettings } from './kvservers.ts';

const REDIS = { kind: 'single', urls: ['redis://127.0.0.1:1'], prefix: 'sluice:', budgetMs: 5 };
const NATS = { urls: ['nats://127.0.0.1:1'], prefix: 'sluice', maxBytes: 2 ** 26, maxAgeMs: 600_000, replicas: 1 };

it.each<[string, string]>([
  ['{', 'got what is no JSON'],
  ['[]', 'got no space'],
  ['{"space":"a"}', 'got a server without urls'],
  ['{"space":"a","redis":{}}', 'got a server without urls'],
  ['{"space":"a","redis":{"urls":[]},"kafka":1}', 'got kafka'],
  ['{"space":"a","redis":{"urls":[],"budget":"5ms"}}', 'got redis.budget'],
  ['{"space":"a","redis":{"urls":[]},"nats":{"urls":[],"max":1,"maxAge":"1m"}}', 'got nats.max, nats.maxAge'],
  ['{"space":"a","nats":{"urls":[],"credentials":{"password":"x"}}}', 'got nats.credentials.password'],
])('refuses %s', (text, message) => {
  expect(() => readKvSettings(text)).toThrow(message);
  expect(() => readKvSettings(text)).toThrow(RangeError);
});

it('reads what docs/kv-events.md shows', () => {
  const [, shown = ''] = /```json\n(.*?)```/s.exec(readFileSync(new URL('../../docs/kv-events.md', import.meta.url), 'utf8')) ?? [];
  expect(readKvSettings(shown)).toMatchObject({ space: 'default.chat', redis: { credentials: { env: 'KV' } }, nats: { replicas: 1 } });
});

const opened = (servers: object, env = {}) => openKvServers(readKvSettings(JSON.stringify({ space: 'a.b', ...servers })), env);

it.each<[object, string]>([
  [
    { redis: { ...REDIS, credentials: { env: 'NONE' } } },
    'kv.redis.credentials.env: NONE has nothing of what is looked for: expected at least one of NONE_USERNAME, NONE_PASSWORD',
  ],
  [
    { redis: { ...REDIS, credentials: { secret: 's' } } },
    'kv.redis.credentials.secret: there are Secrets only on Kubernetes: use folder or env',
  ],
  [
    { nats: { ...NATS, credentials: { folder: '/nowhere/at/all' } } },
    'kv.nats.credentials.folder: /nowhere/at/all has nothing of what is looked for: expected at least one of username, password',
  ],
  [
    { nats: { ...NATS, credentials: { folder: '/dev/null' } } },
    'kv.nats.credentials.folder: expected files that can be read, got /dev/null/username (ENOTDIR)',
  ],
  [{ redis: { ...REDIS, urls: ['http://a'] } }, 'kv.redis.urls[0]: expected redis://host:port/db'],
  [{ nats: { ...NATS, urls: ['tls://a', 'nats://b'] } }, 'kv.nats.urls[1]: expected tls:// as in urls[0]'],
  [{ redis: REDIS, nats: { ...NATS, prefix: 'a b' } }, 'kv.nats.prefix: expected 1 to 32 letters'],
])('names what is wrong in %j', async (servers, message) => {
  await expect(opened(servers)).rejects.toThrow(message);
});

it('opens what is named alone, with words from the environment and from files', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-kv-'));
  writeFileSync(join(folder, 'username'), 'u\n');
  writeFileSync(join(folder, 'password'), 'secret-of-a-file\n');
  const redis = { ...REDIS, credentials: { env: 'KV' } };
  const both = await opened({ redis, nats: { ...NATS, credentials: { folder } } }, { KV_PASSWORD: 'w' });
  expect([both.directory, both.bus]).not.toContain(null);
  await both.close();
  writeFileSync(join(folder, 'token'), 'another way');
  await expect(opened({ nats: { ...NATS, credentials: { folder } } })).rejects.toThrow(
    'kv.nats.username, token, credentials: expected one of them, got several',
  );
  const one = await opened({ nats: NATS });
  expect(one.directory).toBeNull();
  await one.close();
  rmSync(folder, { recursive: true });
});
