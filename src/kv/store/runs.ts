/** Which blocks travel together. Pure. */
import type { KvBlock } from '../host/block.ts';
import { MAX_GROUP_BLOCKS } from './group.ts';

/** KV bytes of one value at most, and what a value should have. A single block may be larger. */
export const GROUP_BYTES = { most: 1 << 20, wanted: 512 << 10 } as const;

/**
 * Cuts blocks, in any order, into runs that follow each other in a chain and have one shape, each of at most `mostBytes` (or of one block).
 * Runs are as equal as their chain allows, so that none is a crumb: a crumb costs a whole copy.
 */
export function chainRuns(blocks: readonly KvBlock[], mostBytes: number): KvBlock[][] {
  return chainsOf(blocks).flatMap((chain) => {
    const fit = Math.floor(mostBytes / Math.max(1, (chain[0] as KvBlock).bytes.byteLength));
    const most = Math.min(MAX_GROUP_BLOCKS, Math.max(1, fit));
    const runs = Math.ceil(chain.length / most);
    const each = Math.ceil(chain.length / runs);
    return Array.from({ length: Math.ceil(chain.length / each) }, (_, run) => chain.slice(run * each, (run + 1) * each));
  });
}

/** Whole chains, each from its first block that is here to its last. A block that two others follow goes with the first of them. */
function chainsOf(blocks: readonly KvBlock[]): KvBlock[][] {
  const byKey = new Map(blocks.map((block) => [block.key, block]));
  const next = new Map<string, KvBlock>();
  for (const block of byKey.values()) {
    const before = block.parent === null ? undefined : byKey.get(block.parent);
    if (before && sameShape(before, block) && !next.has(before.key)) next.set(before.key, block);
  }
  const followers = new Set([...next.values()].map(({ key }) => key));
  const chains: KvBlock[][] = [];
  for (const start of byKey.values()) {
    if (followers.has(start.key)) continue;
    const chain = [start];
    // A chain that came back to itself would be a collision of keys; the count bounds it.
    for (let at = next.get(start.key); at && chain.length < byKey.size; at = next.get(at.key)) chain.push(at);
    chains.push(chain);
  }
  return chains;
}

function sameShape(a: KvBlock, b: KvBlock): boolean {
  return a.tokens.length === b.tokens.length && a.bytes.byteLength === b.bytes.byteLength;
}
