/** A server whose certificate is refused, and that says something in the same breath: it must not end the process. */
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type RedisDirectory, type RedisServers, redisDirectory } from '../../src/kv/directory/redis/index.ts';
import { makeCertificate } from '../servers/certificates.ts';
import { forwardLate } from '../servers/lateforward.ts';
import { findServer } from '../servers/programs.ts';
import { serverFolder } from '../servers/server.ts';

/** A record of TLS that nobody expects: the alert `decode_error`. */
const ALERT = Buffer.from([0x15, 3, 3, 0, 2, 2, 50]);

describe.skipIf(findServer('openssl') === null)('a server that talks on after its certificate was refused', () => {
  const folder = serverFolder();
  const uncaught: unknown[] = [];
  const note = (error: unknown) => uncaught.push(error);
  let server: Server;
  let port = 0;
  let strange = '';
  let directory: RedisDirectory | null = null;

  beforeAll(async () => {
    const { certFile, keyFile } = makeCertificate(folder, 'server');
    const own = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
    strange = makeCertificate(folder, 'stranger').cert;
    server = createServer((raw) => {
      let flights = 0;
      const wire = new Duplex({
        read: () => undefined,
        write: (bytes: Buffer, _encoding, done) => {
          flights += 1;
          raw.write(flights === 1 ? Buffer.concat([bytes, ALERT]) : bytes, () => done());
        },
      });
      raw.on('data', (bytes) => wire.push(bytes));
      raw.on('close', () => wire.destroy());
      for (const end of [raw, wire, new TLSSocket(wire, { isServer: true, ...own })]) end.on('error', () => end.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    port = address !== null && typeof address === 'object' ? address.port : 0;
    process.on('uncaughtExceptionMonitor', note);
  });
  afterEach(async () => {
    await directory?.close();
  });
  afterAll(() => {
    process.off('uncaughtExceptionMonitor', note);
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(['single', 'cluster', 'sentinel'] as const)('%s', async (kind) => {
    const backoff = { firstMs: 10, maxMs: 20, factor: 2 };
    const watched = kind === 'sentinel' ? { sentinelName: 'main' } : {};
    const servers: RedisServers = { kind, urls: [`rediss://127.0.0.1:${port}`], ...watched, tls: { ca: strange } };
    directory = redisDirectory({ servers, space: 'tls', budgetMs: 200, backoff });
    const fault = { code: 'denied', message: expect.stringContaining("TLS: the server's certificate is not accepted") };
    for (let turn = 0; turn < 5; turn += 1) {
      await expect(directory.ready(5_000)).rejects.toMatchObject(fault);
      // It connects anew meanwhile, and is refused again.
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(uncaught).toEqual([]);
  });

  it('breaks off to a client that closes meanwhile', async () => {
    const late = await forwardLate(port);
    directory = redisDirectory({ servers: { urls: [`rediss://127.0.0.1:${late.port}`] }, space: 'tls', budgetMs: 200 });
    await late.begun;
    await directory.close();
    await late.over;
    late.server.close();
    expect(uncaught).toEqual([]);
  });
});
