import { createServer, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineInfo } from '../../engines/index.ts';
import type { KvEventEnvelope, KvSnapshot } from '../../kv/index.ts';
import { systemClock } from '../../shared/index.ts';
import { Pool } from '../upstream/index.ts';
import { Feed, type FeedListener } from './feed.ts';
import { Pulse } from './pulse.ts';

const SNAPSHOT = { incarnation: 'i', seq: 4, tiers: { hbm: ['k'] } };
const EVENT = { incarnation: 'i', seq: 5, event: { type: 'cleared' } };

/** Just enough of an engine: tells its info and holds event streams open for the test to write to. */
class FakeEngine {
  readonly server: Server;
  readonly streams: ServerResponse[] = [];
  infoStatus = 200;

  constructor() {
    this.server = createServer((request, response) => {
      if (request.url === '/sluice/info') {
        const body = JSON.stringify({ incarnation: 'i' });
        response.writeHead(this.infoStatus, { 'content-length': body.length }).end(body);
      } else {
        response.writeHead(200);
        this.streams.push(response);
        response.write(line({ type: 'snapshot', ...SNAPSHOT }));
      }
    });
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    const address = this.server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  }
}

class Notes implements FeedListener {
  readonly updates: (KvEventEnvelope | KvSnapshot)[] = [];
  readonly losses: string[] = [];
  infos = 0;
  loads = 0;
  accepts = true;
  takes = true;
  #wake: () => void = () => undefined;

  info(_info: EngineInfo): boolean {
    this.infos += 1;
    this.#wake();
    return this.accepts;
  }

  load(): void {
    this.loads += 1;
    this.#wake();
  }

  update(update: KvEventEnvelope | KvSnapshot): boolean {
    this.updates.push(update);
    this.#wake();
    return this.takes;
  }

  lost(reason: string): void {
    this.losses.push(reason);
    this.#wake();
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function line(message: object): string {
  return `${JSON.stringify(message)}\n`;
}

let engine: FakeEngine;
let notes: Notes;
let feed: Feed;
let pulse: Pulse;

beforeEach(async () => {
  engine = new FakeEngine();
  notes = new Notes();
  const port = await engine.listen();
  const pool = new Pool({ host: '127.0.0.1', port, clock: systemClock, connectTimeoutMs: 500, maxConnections: 4, maxIdle: 4 });
  pulse = new Pulse(systemClock.now());
  feed = new Feed({
    pool,
    host: `127.0.0.1:${port}`,
    clock: systemClock,
    random: () => 0,
    listener: notes,
    pulse,
    lostMs: 600,
  });
});

afterEach(() => {
  feed.close();
  engine.server.closeAllConnections();
  engine.server.close();
});

describe('Feed', () => {
  it('tells info, snapshot, events and loads, in order, however the lines are cut', async () => {
    await notes.until(() => notes.updates.length === 1);
    const text = line({ type: 'event', ...EVENT }) + line({ type: 'load', load: { running: 1 } });
    const [stream] = engine.streams;
    stream?.write(text.slice(0, 20));
    stream?.write(text.slice(20));
    await notes.until(() => notes.loads === 1);
    expect(notes.updates).toEqual([SNAPSHOT, EVENT]);
    expect(notes.losses).toEqual([]);
  });

  it('connects again, from the beginning, when the stream ends', async () => {
    await notes.until(() => notes.updates.length === 1);
    engine.streams[0]?.destroy();
    await notes.until(() => notes.updates.length === 2);
    expect(notes.losses).toHaveLength(1);
    expect(notes.infos).toBe(2);
  });

  it('asks for a new snapshot when events are missing', async () => {
    await notes.until(() => notes.updates.length === 1);
    notes.takes = false;
    engine.streams[0]?.write(line({ type: 'event', ...EVENT, seq: 9 }));
    await notes.until(() => notes.losses.length === 1);
    expect(notes.losses).toEqual(['events are missing']);
    notes.takes = true;
    await notes.until(() => notes.updates.length === 3);
    expect(notes.updates[2]).toEqual(SNAPSHOT);
  });

  it('lets the pulse know of every line, and gives a stream up that is silent for long', async () => {
    await notes.until(() => notes.updates.length === 1);
    while (pulse.quietMs < 200) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(notes.losses).toEqual([]);
    engine.streams[0]?.write(line({ type: 'load', load: {} }));
    await notes.until(() => notes.loads === 1);
    expect(pulse.quietMs).toBe(0);
    await notes.until(() => notes.losses.length === 1);
    expect(notes.losses).toEqual(['it fell silent']);
    expect(pulse.quietMs).toBeGreaterThan(600);
  });

  it('does not believe nonsense', async () => {
    await notes.until(() => notes.updates.length === 1);
    engine.streams[0]?.write('nonsense\n');
    await notes.until(() => notes.losses.length === 1);
    expect(notes.losses).toEqual(['a line is no JSON']);
  });

  it('keeps asking an instance that is another one, or not well', async () => {
    notes.accepts = false;
    await notes.until(() => notes.losses.length === 2);
    notes.accepts = true;
    engine.infoStatus = 503;
    await notes.until(() => notes.losses.at(-1) === '/sluice/info answered 503');
    engine.infoStatus = 200;
    await notes.until(() => notes.updates.length > 0);
  });
});
