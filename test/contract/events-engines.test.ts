/** What vLLM and SGLang say of their KV, in every encoding of theirs, arrives through the log as what they hold. */
import { encode } from '@msgpack/msgpack';
import { afterEach, describe, expect, it } from 'vitest';
import { decodeBatch } from '../../src/engines/agent/events/decode.ts';
import { BlockLedger } from '../../src/engines/agent/events/index.ts';
import { recordedFrames } from '../../src/engines/agent/events/recorded.fixture.ts';
import { natsEventBus } from '../../src/kv/events/nats/index.ts';
import { type EventBus, type KvIdentity, memoryEventBus } from '../../src/kv/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { startNats } from '../servers/nats.ts';
import { findServer } from '../servers/programs.ts';
import { until } from '../servers/server.ts';
import { life } from './directory-contract.ts';
import { Index } from './events-engine.ts';

const IDENTITY: KvIdentity = {
  model: 'm',
  revision: '',
  tokenizer: 't',
  rope: '',
  adapter: '',
  dtype: 'float32',
  layout: 'l',
  blockTokens: 32,
};

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Signed hashes, as SGLang has them; blocks of 32 tokens in a chain. */
function sglang(encoding: 'lists' | 'maps'): Uint8Array[] {
  const stored = (hash: bigint, parent: bigint | null, first: number) => {
    const tokens = Array.from({ length: 32 }, (_, index) => first + index);
    if (encoding === 'lists') return ['BlockStored', [hash], parent, tokens, 32, null, 'GPU'];
    return {
      type: 'BlockStored',
      block_hashes: [hash],
      parent_block_hash: parent,
      token_ids: tokens,
      block_size: 32,
      lora_id: null,
      medium: 'GPU',
    };
  };
  const removed = (hash: bigint, medium: string) =>
    encoding === 'lists' ? ['BlockRemoved', [hash], medium] : { type: 'BlockRemoved', block_hashes: [hash], medium };
  const batches = [
    [stored(-5n, null, 1), stored(2n ** 62n, -5n, 100)],
    [stored(-7n, 2n ** 62n, 200), removed(-7n, 'GPU')],
    [removed(99n, 'CPU_PINNED')],
  ];
  return batches.map((events) => encode([1.5, events, 0], { useBigInt64: true }));
}

const SOURCES: Readonly<Record<string, { readonly payloads: () => Uint8Array[]; readonly blocks: number }>> = {
  'vLLM, some prompts': { payloads: () => recordedFrames('kv-events.jsonl').map((frames) => frames[2] as Buffer), blocks: 1 },
  'vLLM, prompts that push each other out': {
    payloads: () =>
      recordedFrames('kv-events-eviction.jsonl')
        .slice(0, -1)
        .map((frames) => frames[2] as Buffer),
    blocks: 1,
  },
  'SGLang, lists': { payloads: () => sglang('lists'), blocks: 2 },
  'SGLang, maps': { payloads: () => sglang('maps'), blocks: 2 },
};

const BUSES: Readonly<Record<string, () => Promise<readonly [EventBus, EventBus]>>> = {
  memory: async () => {
    const bus = memoryEventBus({ clock: systemClock });
    return [bus, bus];
  },
  NATS: async () => {
    const server = await startNats();
    ends.push(server.stop);
    const open = () => natsEventBus({ servers: { urls: [server.url] }, space: 'engines', connectMs: 5_000 });
    const pair = [open(), open()] as const;
    await Promise.all(pair.map((bus) => bus.ready(10_000)));
    return pair;
  },
};

for (const [name, open] of Object.entries(BUSES)) {
  describe.skipIf(name === 'NATS' && findServer('nats-server') === null)(`${name}: events of engines`, () => {
    it.each(Object.keys(SOURCES))('%s', async (which) => {
      const { payloads, blocks } = SOURCES[which] ?? { payloads: () => [], blocks: 0 };
      const [bus, other] = await open();
      ends.push(() => Promise.all([bus.close(), other.close()]));
      const ledger = new BlockLedger({ incarnation: '1', identity: IDENTITY });
      const source = { snapshot: () => ledger.snapshot(), onEvent: ledger.onEvent.bind(ledger), load: () => null };
      const telling = bus.log.tell(life('a'), source);
      const index = new Index();
      const following = other.log.follow(index);
      ends.push(
        () => telling.stop(),
        () => following.stop(),
      );
      await until('told', async () => following.isTold(life('a')));
      for (const payload of payloads()) ledger.apply(decodeBatch(payload).events);
      const held = ledger.snapshot().tiers.hbm ?? [];
      expect(held.length).toBeGreaterThanOrEqual(blocks);
      await until('all that it holds is known', async () => !index.holds('a', held).includes(false));
      expect(index.directory.stats().blocks).toBe(held.length);
      expect(index.outcomes).not.toContain('gap');
    });
  });
}
