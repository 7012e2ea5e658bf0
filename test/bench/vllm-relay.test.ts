import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Relay } from './vllm-relay.ts';

const open: { close(): unknown }[] = [];

afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

/** Answers every part with its name and the part. */
async function target(name: string): Promise<number> {
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (part) => socket.write(`${name}:${part.toString()}`));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(server);
  return (server.address() as net.AddressInfo).port;
}

async function relayTo(port: number): Promise<Relay> {
  const relay = await Relay.to(port);
  open.push({ close: () => relay.down() });
  return relay;
}

async function ask(port: number, text: string): Promise<string> {
  const socket = net.connect({ host: '127.0.0.1', port });
  try {
    socket.write(text);
    const [part] = (await once(socket, 'data')) as [Buffer];
    return part.toString();
  } finally {
    socket.destroy();
  }
}

describe('Relay', () => {
  it('keeps its port over a change of target, and refuses in between', async () => {
    const relay = await relayTo(await target('a'));
    expect(await ask(relay.port, 'one')).toBe('a:one');
    relay.down();
    await expect(ask(relay.port, 'two')).rejects.toThrow('ECONNREFUSED');
    await relay.up(await target('b'));
    expect(await ask(relay.port, 'three')).toBe('b:three');
  });

  it('cuts open connections when it goes down', async () => {
    const relay = await relayTo(await target('a'));
    const socket = net.connect({ host: '127.0.0.1', port: relay.port });
    socket.on('error', () => socket.destroy());
    socket.write('one');
    await once(socket, 'data');
    const closed = once(socket, 'close');
    relay.down();
    await closed;
  });

  it('ends a client whose target is not there', async () => {
    const gone = net.createServer();
    gone.listen(0, '127.0.0.1');
    await once(gone, 'listening');
    const { port } = gone.address() as net.AddressInfo;
    gone.close();
    await once(gone, 'close');
    const relay = await relayTo(port);
    const socket = net.connect({ host: '127.0.0.1', port: relay.port });
    socket.on('error', () => socket.destroy());
    await once(socket, 'close');
  });

  it('passes more than fits into its buffers, whole', async () => {
    const size = 8 * 1024 * 1024;
    const server = net.createServer((socket) => socket.end(Buffer.alloc(size, 'x')));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push(server);
    const relay = await relayTo((server.address() as net.AddressInfo).port);
    const socket = net.connect({ host: '127.0.0.1', port: relay.port });
    let got = 0;
    for await (const part of socket) {
      got += (part as Buffer).length;
      // Slower than the one that sends.
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(got).toBe(size);
  });
});
