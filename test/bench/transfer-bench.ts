/**
 * The transfer bench: bytes per second between host memory, a peer and the store, with checksums, against moving as many bytes without them.
 * Peer: two processes on a core each, against a plain socket copy on the same cores and memcpy. Groups (what the store moves): against memcpy
 * of as many bytes. Folder: against writing and reading plain files of the same size on the same disk. Redis: against SET and GET by the
 * same client.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { type BlockStore, blockKeys, type KvBlock, keyHexes, kvBlock, openFolderStore } from '../../src/kv/index.ts';
import { decodeGroup, encodeGroup, tenantTag } from '../../src/kv/store/group.ts';
import { redisStore } from '../../src/kv/store/redis/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { installServer } from '../servers/programs.ts';
import { startRedis } from '../servers/redis.ts';
import { seededRandom } from './arrivals.ts';
import type { Children } from './children.ts';
import { childReply, startCopyPair } from './copy.ts';
import { allowedCores, describeMachine } from './machine.ts';
import type { BenchOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { compare, rotate, type Sample } from './ratio.ts';
import type { Report } from './report.ts';
import { randomTokens } from './tokens.ts';

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const OURS = 'sluice';
/** A token of an 8B model has 128 KiB of KV, so that a block of 16 tokens has 2 MiB; of the built-in model 16 KiB. */
const SHAPES = [
  { name: '8MiB', blocks: 512, bytesPerBlock: 16 * KIB },
  { name: '64MiB', blocks: 32, bytesPerBlock: 2 * MIB },
] as const;
/** Pulls of one repeat; the median counts. */
const PULLS = 5;
const BLOCK_TOKENS = 16;
const GROUP_BLOCKS = 32;
const GROUP_BLOCK_BYTES = 16 * KIB;
const GROUP_BYTES = GROUP_BLOCKS * GROUP_BLOCK_BYTES;
/** Groups moved in one repeat. */
const GROUPS = 64;
const FRAME_ROUNDS = 200;

type Add = (metric: string, contender: string, bytesPerMs: number) => void;

export async function benchTransfer(options: BenchOptions, children: Children, progress: Progress): Promise<Report> {
  const samples: Sample[] = [];
  const omitted: string[] = [];
  const peers = await startPeers(children);
  const redisFailure = installServer('redis-server');
  if (redisFailure !== null) omitted.push(`omitted redis: ${redisFailure}`);
  for (let repeat = -1; repeat < options.runs; repeat += 1) {
    progress.step(repeat < 0 ? 'warming up' : `run ${repeat + 1}/${options.runs}`);
    const add: Add = (metric, contender, bytesPerMs) => {
      if (repeat >= 0) samples.push({ repeat, contender, metric, value: bytesPerMs / 1e6 });
    };
    for (const shape of SHAPES) await peers.measure(shape, add);
    measureGroups(add, Math.max(0, repeat));
    if (repeat >= 0) samples.push({ repeat, contender: OURS, metric: 'hash.8192', value: measureHash() });
    await measureFolder(add, Math.max(0, repeat));
    if (redisFailure === null) await measureRedis(add, Math.max(0, repeat));
  }
  return reportOf(samples, options.runs, omitted);
}

interface Peers {
  measure(shape: (typeof SHAPES)[number], add: Add): Promise<void>;
}

async function startPeers(children: Children): Promise<Peers> {
  const [first, second] = allowedCores();
  const pinned = first !== undefined && second !== undefined;
  const [sender, receiver] = pinned ? [[first], [second]] : [null, null];
  const script = fileURLToPath(new URL('./transfer-peer.ts', import.meta.url));
  const server = children.start('transfer server', [process.execPath, script, 'serve'], { cores: sender, ipc: true });
  const port = Number((await childReply(server, 'listening'))['port']);
  const client = children.start('transfer client', [process.execPath, script, 'pull'], { cores: receiver, ipc: true });
  await childReply(client, 'listening');
  const copy = await startCopyPair(children, sender, receiver);
  return {
    async measure({ name, blocks, bytesPerBlock }, add) {
      const bytes = blocks * bytesPerBlock;
      const kept = childReply(server, 'kept');
      server.process.send({ blocks, bytesPerBlock, port });
      await kept;
      const times = { ours: [] as number[], socket: [] as number[], memcpy: [] as number[] };
      for (let pull = 0; pull < PULLS; pull++) {
        const answer = childReply(client, 'times');
        client.process.send({ blocks, bytesPerBlock, port });
        times.ours.push(Number((await answer)['ms']));
        const plain = await copy.measure(bytes, 0);
        times.socket.push(plain.socketMs);
        times.memcpy.push(plain.memcpyMs);
      }
      add(`peer.${name}`, OURS, bytes / middle(times.ours));
      add(`peer.${name}`, 'socketCopy', bytes / middle(times.socket));
      add(`peer.${name}`, 'memcpy', bytes / middle(times.memcpy));
    },
  };
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function chainOf(seed: number): { blocks: KvBlock[]; keys: string[]; tokens: Int32Array } {
  const tokens = Int32Array.from(randomTokens(GROUP_BLOCKS * BLOCK_TOKENS, seededRandom(seed)));
  const keys = keyHexes(blockKeys(Uint32Array.of(1, 2, 3, 4), tokens, BLOCK_TOKENS));
  const blocks = keys.map((key, index) => {
    const bytes = new Uint8Array(GROUP_BLOCK_BYTES).fill(seed + index);
    return kvBlock(key, keys[index - 1] ?? null, tokens.slice(index * BLOCK_TOKENS, (index + 1) * BLOCK_TOKENS), bytes);
  });
  return { blocks, keys, tokens };
}

/** Within one process: gathering blocks into a group and taking them out, verified, against copying as many bytes. */
function measureGroups(add: Add, repeat: number): void {
  const chains = Array.from({ length: 16 }, (_, seed) => chainOf(seed));
  const values = chains.map(({ blocks }) => encodeGroup(blocks, tenantTag('')));
  const target = Buffer.allocUnsafeSlow(GROUP_BYTES);
  const contenders: Readonly<Record<string, (round: number) => unknown>> = {
    'gather sluice': (round) => encodeGroup(chains[round % 16]?.blocks ?? [], '0'.repeat(16)),
    'gather memcpy': (round) => (values[round % 16] as Buffer).copy(Buffer.allocUnsafeSlow(GROUP_BYTES), 0, 0, GROUP_BYTES),
    'verify sluice': (round) => decodeGroup(values[round % 16] as Buffer),
    'verify memcpy': (round) => (values[round % 16] as Buffer).copy(target, 0, 0, GROUP_BYTES),
  };
  for (const name of rotate(Object.keys(contenders), repeat)) {
    const run = contenders[name] as (round: number) => unknown;
    const began = performance.now();
    for (let round = 0; round < FRAME_ROUNDS; round++) run(round);
    const [metric = '', contender = ''] = name.split(' ');
    add(`${metric}.512KiB`, contender === 'sluice' ? OURS : contender, (FRAME_ROUNDS * GROUP_BYTES) / (performance.now() - began));
  }
}

/** Microseconds to name the blocks of a prompt of 8,192 tokens; the median of many. */
function measureHash(): number {
  const tokens = Int32Array.from(randomTokens(8192, seededRandom(7)));
  const seed = Uint32Array.of(1, 2, 3, 4);
  const times = Array.from({ length: 200 }, () => {
    const began = performance.now();
    blockKeys(seed, tokens, BLOCK_TOKENS);
    return (performance.now() - began) * 1000;
  });
  return middle(times);
}

interface Mover {
  readonly name: string;
  readonly write: (index: number) => Promise<void>;
  readonly read: (index: number) => Promise<void>;
}

async function measureMovers(place: string, movers: readonly Mover[], { add, repeat }: { add: Add; repeat: number }): Promise<void> {
  for (const way of ['write', 'read'] as const) {
    for (const mover of rotate(movers, repeat)) {
      const began = performance.now();
      for (let index = 0; index < GROUPS; index++) await mover[way](index);
      add(`${place}.${way}`, mover.name, (GROUPS * GROUP_BYTES) / (performance.now() - began));
    }
  }
}

function storeMover(store: BlockStore, chains: readonly ReturnType<typeof chainOf>[]): Mover {
  const chain = (index: number) => chains[index] as ReturnType<typeof chainOf>;
  return {
    name: OURS,
    write: async (index) => {
      const { written } = await store.write(chain(index).blocks);
      if (written !== GROUP_BLOCKS) throw new Error(`${written} of ${GROUP_BLOCKS} blocks written: ${store.condition().message}`);
    },
    read: async (index) => {
      const { keys, tokens } = chain(index);
      const shape = { blockTokens: BLOCK_TOKENS, bytesPerBlock: GROUP_BLOCK_BYTES };
      const { blocks, failed } = await store.read({ keys, tokens, ...shape, deadlineMs: 60_000 });
      if (blocks.length !== GROUP_BLOCKS) throw new Error(`${blocks.length} of ${GROUP_BLOCKS} blocks read: ${failed}`);
    },
  };
}

async function measureFolder(add: Add, repeat: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-store-'));
  const store = await openFolderStore({ path: join(folder, 'ours'), capacityBytes: 1 << 30, clock: systemClock });
  try {
    const chains = Array.from({ length: GROUPS }, (_, seed) => chainOf(seed + 1));
    const plain = Buffer.alloc(GROUP_BYTES, 5);
    const path = (index: number) => join(folder, `plain-${index}`);
    const files: Mover = {
      name: 'files',
      write: async (index) => {
        await writeFile(`${path(index)}.tmp`, plain);
        await rename(`${path(index)}.tmp`, path(index));
      },
      read: async (index) => void (await readFile(path(index))),
    };
    await measureMovers('folder', [storeMover(store, chains), files], { add, repeat });
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureRedis(add: Add, repeat: number): Promise<void> {
  const server = await startRedis({ socket: true });
  const client = new Redis({ path: server.url.replace('unix://', ''), protocol: 2 });
  const store = redisStore({ servers: { urls: [server.url] }, space: 'bench', capacityBytes: 1 << 30, budgetMs: 60_000 });
  try {
    const chains = Array.from({ length: GROUPS }, (_, seed) => chainOf(seed + 1));
    const plain = Buffer.alloc(GROUP_BYTES, 5);
    const commands: Mover = {
      name: 'commands',
      write: async (index) => void (await client.set(`plain-${index}`, plain, 'PX', 3_600_000)),
      read: async (index) => void (await client.getBuffer(`plain-${index}`)),
    };
    await client.ping();
    await measureMovers('redis', [storeMover(store, chains), commands], { add, repeat });
  } finally {
    client.disconnect();
    await store.close();
    await server.stop();
  }
}

function reportOf(samples: readonly Sample[], runs: number, notes: readonly string[]): Report {
  const { ratio, absolute, omitted } = compare(samples, OURS);
  return {
    name: 'transfer',
    ratio,
    baseline: {
      socketCopy: 'as many bytes between two processes over an open loopback socket, unchecked, on the same two cores',
      memcpy: 'as many bytes within one process',
      files: 'plain files of as many bytes in the same folder, written under another name and renamed',
      commands: 'SET with a time to live, and GET, of values of as many bytes by the same client over the same socket',
    },
    runs,
    machine: describeMachine(),
    absolute,
    units: Object.fromEntries(Object.keys(absolute).map((metric) => [metric, metric.startsWith('hash') ? 'us' : 'GB/s'])),
    notes: [
      'speeds: large is good. Of the peer rows each repeat takes the median of 5 pulls, each with a plain copy beside it',
      'peer: asked, received and every block verified (key, tokens, checksum), as an instance pulls from another; no engine takes part',
      'gather, verify: 32 blocks of 16 KiB into one group with its head, and out again with every checksum compared',
      'folder, redis: one group of 512 KiB after the other, blocks made beforehand; the page cache has what was just written',
      ...notes,
      ...omitted.map((reason) => `omitted ${reason}`),
    ],
  };
}
