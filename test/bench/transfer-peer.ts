/**
 * The two ends of a KV transfer without engines, started by `transfer-bench.ts`: `serve` keeps as many blocks as asked for in host frames
 * and serves them; `pull PORT` pulls them, verified, into memory laid out before, and times it. What an instance does, less the engine.
 */
import { FrameMemory, type KvBlock, pullSlabBytes, TransferPool, TransferServer } from '../../src/kv/index.ts';
import { systemClock } from '../../src/shared/index.ts';

export interface TransferRequest {
  readonly blocks: number;
  readonly bytesPerBlock: number;
  readonly port: number;
}

const BLOCK_TOKENS = 16;
const LEASE = 'bench';
/** Not counted: opens the connection, compiles, lays the memory out. */
const WARM_ROUNDS = 2;
/** Chains taken in turn, together larger than any cache: a prompt's KV is somewhere else in memory each time. */
const REGIONS_BYTES = 256 << 20;

const keyOf = (region: number, index: number) => (region * 0x100000 + index).toString(16).padStart(32, '0');
const regionsOf = ({ blocks, bytesPerBlock }: TransferRequest) =>
  Math.min(16, Math.max(2, Math.ceil(REGIONS_BYTES / (blocks * bytesPerBlock))));

class Peer {
  readonly #blocks = new Map<string, KvBlock>();
  readonly #server = new TransferServer({
    source: { block: (key) => this.#blocks.get(key) ?? null },
    leases: { renew: () => true, release: () => undefined },
    clock: systemClock,
    bytesPerSecondPerPeer: null,
  });

  async listen(): Promise<number> {
    return (await this.#server.listen()).port;
  }

  keep(request: TransferRequest): void {
    this.#blocks.clear();
    const { blocks, bytesPerBlock } = request;
    const memory = new FrameMemory({ blockTokens: BLOCK_TOKENS, bytesPerBlock }, blocks * regionsOf(request));
    for (let region = 0; region < regionsOf(request); region++) {
      for (const [index, frame] of memory.take(blocks).entries()) {
        memory.bytesOf(frame).fill(index + 1);
        const key = keyOf(region, index);
        this.#blocks.set(key, memory.block(frame, { key, parent: null, tokens: new Int32Array(BLOCK_TOKENS) }));
      }
    }
  }
}

const transfers = new TransferPool({ clock: systemClock, bytesPerSecondPerPeer: null });
const slabs: { bytes: number; regions: Uint8Array[] } = { bytes: 0, regions: [] };
let turn = 0;

async function pullOnce(request: TransferRequest): Promise<number> {
  const { blocks, bytesPerBlock, port } = request;
  const bytes = pullSlabBytes(blocks, BLOCK_TOKENS, bytesPerBlock);
  if (slabs.bytes !== bytes) {
    slabs.bytes = bytes;
    slabs.regions = Array.from({ length: regionsOf(request) }, () => new Uint8Array(bytes).fill(1));
    for (let round = 0; round < WARM_ROUNDS; round++) await pullOnce(request);
  }
  turn += 1;
  const region = turn % slabs.regions.length;
  const result = await transfers.pull({
    host: '127.0.0.1',
    port,
    lease: LEASE,
    keys: Array.from({ length: blocks }, (_, index) => keyOf(region, index)),
    tokens: new Int32Array(blocks * BLOCK_TOKENS),
    blockTokens: BLOCK_TOKENS,
    bytesPerBlock,
    slab: slabs.regions[region] as Uint8Array,
    deadlineMs: 60_000,
    peer: 'bench',
    onBlock: () => undefined,
  });
  if (result.failed !== null || result.blocks !== blocks) throw new Error(`${result.blocks} of ${blocks} blocks: ${result.failed}`);
  return result.ms;
}

async function main(): Promise<void> {
  process.on('disconnect', () => process.exit(0));
  const peer = process.argv[2] === 'serve' ? new Peer() : null;
  const port = peer === null ? 0 : await peer.listen();
  process.on('message', (request: TransferRequest) => {
    const work = async () => {
      if (peer === null) return { type: 'times', ms: await pullOnce(request) };
      peer.keep(request);
      return { type: 'kept' };
    };
    work().then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.({ type: 'failed', reason: String(error) }),
    );
  });
  process.send?.({ type: 'listening', port });
}

await main();
