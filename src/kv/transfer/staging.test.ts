import { expect, it } from 'vitest';
import { systemClock } from '../../shared/index.ts';
import { type KvBlock, kvBlock } from '../host/block.ts';
import { pull } from './client.ts';
import { TransferServer } from './server.ts';

const BLOCK_TOKENS = 16;
const BYTES = 65_536;
const PER_PEER = 64;

/** Batches larger than a socket takes at once wait in memory: what waits for one peer must not be written over for another. */
it('keeps the batches of peers that pull at the same time apart', async () => {
  const key = (peer: number, i: number) => (peer * 1000 + i).toString(16).padStart(32, '0');
  const blocks = new Map<string, KvBlock>();
  const tokens = Int32Array.from({ length: PER_PEER * BLOCK_TOKENS }, (_, i) => i);
  for (let peer = 0; peer < 6; peer++) {
    for (let i = 0; i < PER_PEER; i++) {
      const own = tokens.slice(i * BLOCK_TOKENS, (i + 1) * BLOCK_TOKENS);
      blocks.set(key(peer, i), kvBlock(key(peer, i), null, own, new Uint8Array(BYTES).fill(peer * 37 + i)));
    }
  }
  const server = new TransferServer({
    source: { block: (name) => blocks.get(name) ?? null },
    leases: { renew: () => true, release: () => undefined },
    clock: systemClock,
    bytesPerSecondPerPeer: null,
  });
  const address = await server.listen({ host: '127.0.0.1', port: 0 });
  const pulls = Array.from({ length: 6 }, (_, peer) =>
    pull({
      ...address,
      lease: 'l',
      keys: Array.from({ length: PER_PEER }, (__, i) => key(peer, i)),
      tokens,
      blockTokens: BLOCK_TOKENS,
      bytesPerBlock: BYTES,
      deadlineMs: 8_000,
      clock: systemClock,
      onBlock: () => undefined,
    }),
  );
  const results = await Promise.all(pulls);
  expect(results.map(({ blocks: got, failed }) => ({ got, failed }))).toEqual(results.map(() => ({ got: PER_PEER, failed: null })));
  await server.close();
});
