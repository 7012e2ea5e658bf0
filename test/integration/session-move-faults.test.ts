/**
 * Moves that go wrong: source, target or router killed with -9 at every state of a move, targets that say nothing, a slow link. The stream
 * says what one undisturbed engine says, and nothing is left: no place, no lease, no reservation.
 */
import { createServer, request as httpRequest, type Server } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { MoveRecord } from '../../src/router/index.ts';
import { type Engine, Fleet, until } from './fleet.ts';
import {
  ask,
  difference,
  disturbed,
  drain,
  enginesHoldNothing,
  GREEDY,
  isGone,
  nothingHeld,
  prompt,
  SEEDED,
  undrainAll,
} from './session-script.ts';

const fleet = new Fleet({ roles: ['decode', 'decode', 'mixed'], engineArgs: ['--lease-ms', '3000', '--sequences', '4'] });
let alone: Engine;

type Verb = 'hold' | 'offer' | 'pull' | 'follow' | 'stop' | 'commit' | 'release';

/** Stands between the router and an engine, and tells of every command of a move before it is passed on. */
class Tap {
  readonly #engine: Engine;
  readonly #server: Server;
  /** `drop`: the command never comes. `mute`: its answer never comes. */
  onVerb: (verb: Verb) => 'pass' | 'drop' | 'mute' = () => 'pass';
  /** The answer to `offer`, as the router gets it. */
  onOffer: (answer: string) => string = (answer) => answer;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#server = createServer((incoming, outgoing) => {
      const verb = verbOf(incoming.url ?? '', incoming.headers['x-sluice-leg']);
      const what = verb === null ? 'pass' : this.onVerb(verb);
      if (what === 'drop') return;
      const { method = 'GET', headers } = incoming;
      const target = httpRequest(`${engine.url}${incoming.url ?? ''}`, { method, headers }, (answer) => {
        if (what === 'mute') return void answer.resume();
        if (verb !== 'offer') {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          outgoing.flushHeaders();
          answer.pipe(outgoing);
          answer.on('error', () => outgoing.destroy());
          return;
        }
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.on('end', () => {
          const body = this.onOffer(Buffer.concat(pieces).toString('utf8'));
          outgoing.writeHead(answer.statusCode ?? 502, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
          outgoing.end(body);
        });
      });
      target.on('error', () => outgoing.destroy());
      outgoing.on('close', () => target.destroy());
      incoming.pipe(target);
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    await fleet.relay(this.#engine.id, `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`);
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function verbOf(url: string, leg: string | string[] | undefined): Verb | null {
  if (leg === 'hold') return 'hold';
  const verb = /^\/sluice\/session\/(\w+)$/.exec(url)?.[1];
  return verb === undefined ? null : (verb as Verb);
}

const taps = new Map<string, Tap>();

async function tapAll(): Promise<void> {
  for (const engine of fleet.of('decode')) {
    const tap = new Tap(engine);
    await tap.listen();
    taps.set(engine.id, tap);
  }
}

function untap(): void {
  for (const tap of taps.values()) tap.close();
  taps.clear();
}

beforeAll(async () => {
  await fleet.start();
  alone = await fleet.setAside();
});
afterAll(() => fleet.stop());

afterEach(async () => {
  if (fleet.router?.exitCode === null && fleet.router.signalCode === null) await undrainAll(fleet);
  untap();
  for (const engine of fleet.engines) if (isGone(engine)) await fleet.replace(engine);
  for (const engine of fleet.of('decode')) await fleet.relay(engine.id, engine.url);
  await nothingHeld(fleet);
});

function otherThan(engine: Engine): Engine {
  return fleet.of('decode').find((one) => one !== engine) as Engine;
}

/** Verbs in the order of a move, each with who gets it. */
const VERBS: readonly (readonly [Verb, 'source' | 'target'])[] = [
  ['hold', 'target'],
  ['offer', 'source'],
  ['pull', 'target'],
  ['follow', 'target'],
  ['stop', 'source'],
  ['commit', 'target'],
  ['release', 'source'],
];

describe.each(VERBS)('at "%s"', (verb, to) => {
  it.each(['source', 'target'] as const)('the %s is killed: the stream goes on with the same tokens', async (victim) => {
    await tapAll();
    const body = { ...SEEDED, max_tokens: 600, prompt: prompt(600) };
    const expected = await ask(alone.url, body);
    let killed = false;
    const { said, record } = await disturbed(fleet, { id: `${verb}-${victim}`, body, at: 20 }, async (source) => {
      const target = otherThan(source);
      const tap = taps.get(to === 'source' ? source.id : target.id) as Tap;
      tap.onVerb = (one) => {
        if (one === verb && !killed) (victim === 'source' ? source : target).process.kill('SIGKILL');
        killed ||= one === verb;
        return 'pass';
      };
      await drain(fleet, source, 3_000);
    });
    expect(killed).toBe(true);
    expect(difference(said, expected)).toBeNull();
    expect(record.outcome).toBe('ok');
  });

  it('the answer never comes: the stream goes on with the same tokens', { timeout: 60_000 }, async () => {
    await tapAll();
    const body = { ...GREEDY, max_tokens: 1200, prompt: prompt(300) };
    const expected = await ask(alone.url, body);
    let muted = 0;
    const { said, record } = await disturbed(fleet, { id: `${verb}-mute`, body, at: 10 }, async (source) => {
      const tap = taps.get(to === 'source' ? source.id : otherThan(source).id) as Tap;
      tap.onVerb = (one) => (one === verb && muted++ === 0 ? 'mute' : 'pass');
      await drain(fleet, source, 30_000);
    });
    expect(muted).toBeGreaterThan(0);
    expect(difference(said, expected)).toBeNull();
    expect(record.outcome).toBe('ok');
  });
});

it.each(VERBS.map(([verb]) => verb))('the router is killed at "%s": engines keep nothing beyond the lease', async (verb) => {
  await tapAll();
  const body = { ...GREEDY, max_tokens: 2000, prompt: prompt(300) };
  let acted = false;
  const killed = new Promise<void>((resolve) => {
    for (const tap of taps.values())
      tap.onVerb = (one) => {
        if (one !== verb) return 'pass';
        fleet.router?.kill('SIGKILL');
        resolve();
        return 'pass';
      };
  });
  const said = await ask(fleet.routerUrl, body, {
    onEvent: (events) => {
      if (events < 20 || acted) return;
      acted = true;
      // It dies while it drains.
      void fleet
        .busiest()
        .then((source) => drain(fleet, source, 3_000))
        .catch(() => undefined);
    },
  });
  await killed;
  expect(said.done).toBe(false);
  await enginesHoldNothing(fleet);
  await fleet.restartRouter();
});

it('a slow link: the source decodes on while the blocks come', { timeout: 120_000 }, async () => {
  await tapAll();
  const body = { ...SEEDED, max_tokens: 3000, prompt: prompt(2000) };
  const expected = await ask(alone.url, body);
  const links: { close(): void }[] = [];
  const { said, record } = await disturbed(fleet, { id: 'slow', body, at: 10 }, async (source) => {
    const link = await slowLink(source.transfer, 1_000_000);
    links.push(link);
    (taps.get(source.id) as Tap).onOffer = (answer) => answer.replace(/"port":\d+/, `"port":${link.port}`);
    expect(await drain(fleet, source, 20_000)).toMatchObject({ moved: 1, left: 0 });
  });
  for (const link of links) link.close();
  expect(difference(said, expected)).toBeNull();
  const [move] = record.moves as [MoveRecord];
  expect(move).toMatchObject({ state: 'released' });
  // Two megabytes at one per second, and the client noticed nothing of it.
  expect(move.tookMs).toBeGreaterThan(1_000);
  expect(move.pauseMs).toBeLessThan(move.tookMs / 4);
});

/** A TCP relay that passes so many bytes per second from the far side. */
async function slowLink(target: { host: string; port: number }, bytesPerSecond: number): Promise<{ port: number; close(): void }> {
  const server = createTcpServer((near) => {
    const far = connect(target);
    near.pipe(far);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    far.on('close', () => near.destroy());
    far.on('data', (chunk: Buffer) => {
      near.write(chunk);
      far.pause();
      setTimeout(() => far.resume(), (chunk.length / bytesPerSecond) * 1000);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return { port: typeof address === 'object' && address !== null ? address.port : 0, close: () => server.close() };
}

it('an engine that ends with everything on it leaves nothing on the others', async () => {
  const body = { ...GREEDY, max_tokens: 1000, prompt: prompt(300) };
  const expected = await ask(alone.url, body);
  const { said } = await disturbed(fleet, { id: 'all', body, at: 10 }, async (source) => {
    const moved = await drain(fleet, source);
    expect(moved).toMatchObject({ moved: 1, left: 0 });
    const { leases, running, waiting } = await fleet.load(source);
    expect(leases + running + waiting).toBe(0);
    await fleet.kill(source);
  });
  expect(difference(said, expected)).toBeNull();
  await until('the router holds nothing', async () => (await fleet.leftovers()).reservations === 0);
});
