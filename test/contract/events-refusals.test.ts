/** What is wrong with a NATS server, a user or a stream is said at once, with what to do; nothing that is there is harmed. */
import { rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { connect, StorageType } from 'nats';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type NatsEventBusOptions, type NatsServers, natsEventBus } from '../../src/kv/events/nats/index.ts';
import type { EventBus } from '../../src/kv/index.ts';
import { freePort } from '../ports.ts';
import { makeCertificate } from '../servers/certificates.ts';
import { disguise, natsOf } from '../servers/disguise.ts';
import { type NatsServer, startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { serverFolder, until } from '../servers/server.ts';
import { life } from './directory-contract.ts';
import { blocks, Index, ToldEngine } from './events-engine.ts';

const noNats = findServer('nats-server') === null;
const opened: EventBus[] = [];
const started: { stop(): Promise<void> }[] = [];

function open(url: string, servers: Partial<NatsServers> = {}, options: Partial<NatsEventBusOptions> = {}): EventBus {
  const bus = natsEventBus({ space: 'refusals', connectMs: 2_000, ...options, servers: { urls: [url], ...servers } });
  opened.push(bus);
  return bus;
}

async function server(...conf: string[]): Promise<NatsServer> {
  const nats = await startNats({ conf });
  started.push(nats);
  return nats;
}

afterEach(async () => {
  await Promise.all(opened.splice(0).map((bus) => bus.close()));
  await Promise.all(started.splice(0).map((one) => one.stop()));
});

describe('options', () => {
  const url = 'nats://127.0.0.1:1';
  it.each<[Partial<NatsServers>, Partial<NatsEventBusOptions>, string]>([
    [{ urls: [] }, {}, 'urls: expected 1 to 64, got 0'],
    [{ urls: ['me:secret@cache:4222'] }, {}, 'urls[0]: expected nats://host:port or tls://host:port, got the scheme me:'],
    [{ urls: ['nowhere'] }, {}, 'got what is no URL'],
    [{ urls: ['nats://a/x'] }, {}, 'urls[0]: expected nothing after host and port, got /x'],
    [{ urls: ['nats://a', 'tls://b'] }, {}, 'urls[1]: expected nats:// as in urls[0], got tls://b'],
    [{ tls: {} }, {}, 'tls: given, but urls[0] is nats://127.0.0.1:1: expected tls://'],
    [{ username: 'u', token: 't' }, {}, 'username, token, credentials: expected one of them, got several'],
    [{}, { space: 'a b' }, 'space: expected 1 to 200 letters'],
    [{}, { prefix: 'a.b' }, 'prefix: expected 1 to 32 letters, digits and -, got "a.b"'],
    [{}, { replicas: 6 }, 'replicas: expected an integer from 1 to 5, got 6'],
    [{}, { connectMs: 0 }, 'connectMs: expected an integer from 1'],
  ])('refuses %j %j', (servers, options, message) => {
    expect(() => open(url, servers, options)).toThrow(message);
    expect(() => open(url, servers, options)).toThrow(RangeError);
  });
});

describe('no server', () => {
  it('is said with the address and without the password', async () => {
    const port = await freePort();
    const bus = open(`nats://me:secret@127.0.0.1:${port}`);
    const fault = await bus.ready(500).catch((error: unknown) => error);
    expect(fault).toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(new RegExp(`^NATS at nats://127\\.0\\.0\\.1:${port}: .*REFUSED`)),
    });
    expect(JSON.stringify([fault, String(fault), bus.health])).not.toContain('secret');
  });

  it('is said when whoever listens says nothing', async () => {
    const silent: Server = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    const bus = open(`nats://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`, {}, { connectMs: 200 });
    await expect(bus.ready(2_000)).rejects.toMatchObject({ code: 'timeout' });
    await bus.close();
    silent.close();
  });
});

describe.skipIf(noNats)('users', () => {
  const users = (rights: string) => `authorization { users: [ { user: me, password: right ${rights} } ] }`;

  it.each<[string, Partial<NatsServers>]>([
    ['a wrong password', { username: 'me', password: 'wrong-one' }],
    ['no password', {}],
    ['an unknown user', { username: 'nobody', password: 'right' }],
    ['a token', { token: 'wrong-one' }],
  ])('refuses %s at once', async (_what, servers) => {
    const nats = await server(users(''));
    const bus = open(nats.url, servers);
    const fault = await bus.ready(5_000).catch((error: unknown) => error);
    expect(fault).toMatchObject({
      code: 'denied',
      message: expect.stringContaining('are not accepted: set those of a user of the server'),
    });
    expect(String(fault)).not.toContain('wrong-one');
  });

  it('takes the right one, in the settings or in the URL', async () => {
    const nats = await server(users(''));
    await open(nats.url, { username: 'me', password: 'right' }).ready(5_000);
    await open(nats.url.replace('nats://', 'nats://me:right@')).ready(5_000);
  });

  it('needs no more rights than docs/kv-events.md names', async () => {
    const rights = 'publish: ["sluice.>", "$JS.API.>"], subscribe: ["sluice.>", "_INBOX.>"]';
    const nats = await server(users(`, permissions: { ${rights} }`));
    const bus = open(nats.url, { username: 'me', password: 'right' });
    await bus.ready(5_000);
    const engine = new ToldEngine(life('a'));
    engine.store(blocks(1, 5));
    const telling = bus.log.tell(engine.life, engine);
    const following = bus.log.follow(new Index());
    await until('told', async () => following.isTold(engine.life));
    following.stop();
    telling.stop();
  });

  it('names what a user may not do', async () => {
    const nats = await server(users(', permissions: { publish: ["nothing"], subscribe: ["_INBOX.>"] }'));
    await expect(open(nats.url, { username: 'me', password: 'right' }).ready(5_000)).rejects.toMatchObject({ code: 'denied' });
  });
});

describe.skipIf(noNats)('TLS', () => {
  const folder = serverFolder();
  const certificate = findServer('openssl') === null ? null : makeCertificate(folder, 'nats');
  let nats: NatsServer;
  beforeAll(async () => {
    if (certificate) nats = await startNats({ conf: [`tls { cert_file: "${certificate.certFile}", key_file: "${certificate.keyFile}" }`] });
  });
  afterAll(async () => {
    await nats?.stop();
    rmSync(folder, { recursive: true });
  });
  const tlsUrl = () => nats.url.replace('nats://', 'tls://');

  it.skipIf(certificate === null)('takes a certificate that it was told of, and no other', async () => {
    await open(tlsUrl(), { tls: { ca: certificate?.cert ?? '' } }).ready(5_000);
    await expect(open(tlsUrl()).ready(5_000)).rejects.toMatchObject({ code: 'denied', message: expect.stringContaining('set tls.ca') });
    // A server that wants TLS is spoken to in TLS whatever the URL says, but it is not trusted.
    await expect(open(nats.url).ready(5_000)).rejects.toMatchObject({ code: 'denied' });
  });

  it.skipIf(certificate === null)('says that a server has none', async () => {
    const plain = await server();
    const bus = open(plain.url.replace('nats://', 'tls://'));
    await expect(bus.ready(5_000)).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('the url begins with nats://'),
    });
  });
});

describe.skipIf(noNats)('servers', () => {
  it('without JetStream: what to do is said', async () => {
    const nats = await startNats({ jetStream: false });
    started.push(nats);
    await expect(open(nats.url).ready(5_000)).rejects.toMatchObject({
      code: 'incompatible',
      message: expect.stringContaining('JetStream is off: start nats-server with -js'),
    });
  });

  it('of an older version', async () => {
    const nats = await server();
    const old = await disguise(nats.port, natsOf('2.8.4'));
    try {
      await expect(open(`nats://127.0.0.1:${old.port}`).ready(5_000)).rejects.toMatchObject({
        code: 'incompatible',
        message: expect.stringContaining('the server has version 2.8.4, expected 2.9 or later: upgrade it'),
      });
    } finally {
      old.close();
    }
  });

  it('with too small messages', async () => {
    const nats = await server('max_payload: 100000');
    await expect(open(nats.url).ready(5_000)).rejects.toMatchObject({
      code: 'incompatible',
      message: expect.stringContaining('max_payload is 100000'),
    });
  });

  it('without room', async () => {
    const nats = await server('jetstream { max_memory_store: 1000000, max_file_store: 1000000 }');
    await expect(open(nats.url, {}, { maxBytes: 2 ** 30 }).ready(5_000)).rejects.toMatchObject({ code: 'full' });
  });

  it('leaves a stream that is not ours as it is', async () => {
    const nats = await server();
    const admin = await connect({ servers: nats.url });
    const manager = await admin.jetstreamManager();
    await manager.streams.add({ name: 'sluice_refusals', subjects: ['mine'], storage: StorageType.Memory });
    await admin.jetstream().publish('mine', 'precious');
    await expect(open(nats.url).ready(5_000)).rejects.toMatchObject({
      code: 'incompatible',
      message: expect.stringContaining('the stream sluice_refusals is not ours'),
    });
    const { state, config } = await manager.streams.info('sluice_refusals');
    expect([state.messages, config.subjects]).toEqual([1, ['mine']]);
    await admin.close();
  });

  it('brings a stream of ours up to date', async () => {
    const nats = await server();
    await open(nats.url).ready(5_000);
    await open(nats.url, {}, { maxBytes: 2 ** 22 }).ready(5_000);
    const admin = await connect({ servers: nats.url });
    const { config } = await (await admin.jetstreamManager()).streams.info('sluice_refusals');
    expect(config).toMatchObject({ max_bytes: 2 ** 22, subjects: ['sluice.refusals.event.*'], storage: 'memory', retention: 'limits' });
    await admin.close();
  });

  it('counts messages of others on our subjects, and goes on', async () => {
    const nats = await server();
    const bus = open(nats.url);
    await bus.ready(5_000);
    const following = bus.log.follow({ update: () => 'applied' });
    const admin = await connect({ servers: nats.url });
    const marked = Buffer.from('E2 of another version');
    // Asked again until it is read: the reader may not be there yet.
    while (following.stats.unreadable < 2) {
      await admin.jetstream().publish('sluice.refusals.event.a', marked);
      admin.publish('sluice.refusals.beat.a', 'nonsense');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    following.stop();
    await admin.close();
  });
});
