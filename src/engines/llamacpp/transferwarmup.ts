/**
 * First pulls, from this process to itself: they compile the paths that a hand-off takes and show what moving bytes costs here, so
 * that the first real one is neither slow nor a surprise to the router.
 */
import { type BlockShape, FrameMemory, type KvBlock, pull, pullSlabBytes, TransferServer } from '../../kv/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { CostMeter } from './costs.ts';

const ROUNDS = 40;
const BYTES_PER_ROUND = 1 << 20;

export async function warmUpTransfer(
  costs: CostMeter,
  options: { bytesPerBlock: number; blockTokens: number; clock: Clock },
): Promise<void> {
  const { bytesPerBlock, blockTokens, clock } = options;
  const most = Math.max(1, Math.floor(BYTES_PER_ROUND / bytesPerBlock));
  const blocks = syntheticChain(most, options);
  const server = new TransferServer({
    source: { block: (key) => blocks.get(key) ?? null },
    leases: { renew: () => true, release: () => undefined },
    clock,
    bytesPerSecondPerPeer: null,
  });
  const address = await server.listen({ host: '127.0.0.1', port: 0 });
  const slab = new Uint8Array(pullSlabBytes(most, blockTokens, bytesPerBlock));
  for (let round = 0; round < ROUNDS; round++) {
    const keys = [...blocks.keys()].slice(0, round % 2 === 0 ? most : Math.ceil(most / 8));
    const tokens = new Int32Array(keys.length * blockTokens);
    const request = { ...address, lease: 'warm-up', keys, tokens, blockTokens, bytesPerBlock, deadlineMs: 2_000, clock, slab };
    const result = await pull({ ...request, onBlock: () => undefined });
    if (result.failed === null && round >= ROUNDS / 2) costs.pulled(result.bytes, result.ms);
  }
  await server.close();
}

function syntheticChain(count: number, shape: BlockShape): Map<string, KvBlock> {
  const memory = new FrameMemory(shape);
  const tokens = new Int32Array(shape.blockTokens);
  const key = (i: number) => i.toString(16).padStart(32, '0');
  const block = (frame: Buffer, i: number) => memory.block(frame, { key: key(i), parent: i === 0 ? null : key(i - 1), tokens });
  return new Map(memory.take(count).map((frame, i) => [key(i), block(frame, i)]));
}
