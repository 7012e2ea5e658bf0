import { encode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';
import { decodeBatch, MAX_PAYLOAD_BYTES } from './decode.ts';
import { EventFormatError } from './event.ts';
import { recordedFrames } from './recorded.fixture.ts';

const STORED = {
  type: 'BlockStored',
  block_hashes: [1, 2],
  parent_block_hash: null,
  token_ids: [5, 6, 7, 8],
  block_size: 2,
  lora_id: null,
  medium: 'GPU',
  lora_name: null,
};

function batch(...events: unknown[]): Uint8Array {
  return encode([1.5, events, 0], { useBigInt64: true });
}

function decodeOne(event: unknown) {
  const { events, skipped } = decodeBatch(batch(event));
  expect(events.length + skipped).toBe(1);
  return events[0];
}

describe('decodeBatch', () => {
  it('reads every message of a real vLLM', () => {
    const batches = recordedFrames('kv-events.jsonl').map((frames) => decodeBatch(frames[2] as Buffer));
    expect(batches.map(({ events, skipped }) => [events.map(({ type }) => type), skipped])).toEqual(
      Array.from({ length: 6 }, () => [['stored'], 0]),
    );
    const [first] = batches[0]?.events ?? [];
    expect(first).toMatchObject({
      parent: null,
      blockTokens: 32,
      adapter: null,
      isAdapted: false,
      tier: 'hbm',
      group: 0,
      groupKind: 'full_attention',
    });
    if (first?.type !== 'stored') throw new Error('not stored');
    expect(first.hashes.map((hash) => hash.toString(16))).toContain('f3d5ce26c49a569e');
    expect(first.tokens.length).toBe(7 * 32);
    const salted = batches[3]?.events[0];
    expect(salted).toMatchObject({ extraKeys: [[{ kind: 'text', text: 'tenant-a' }], [], [], [], [], [], []] });
  });

  it('reads the bytes that msgspec makes', () => {
    const golden =
      '93cb3ff80000000000009189a474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391c40401010101b1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f696473920102aa626c6f636b5f73697a6502a76c6f72615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0a967726f75705f6964780000';
    expect(decodeBatch(Buffer.from(golden, 'hex')).events).toEqual([
      {
        type: 'stored',
        hashes: [0x01010101n],
        parent: null,
        tokens: Int32Array.of(1, 2),
        blockTokens: 2,
        adapter: null,
        isAdapted: false,
        extraKeys: null,
        salt: null,
        tier: 'hbm',
        group: 0,
        groupKind: null,
      },
    ]);
  });

  it('reads what SGLang sends: lists with signed names and metadata, maps with the salt beside them', () => {
    const hashes = [-1n, -9_223_372_036_854_775_808n];
    const list = ['BlockStored', hashes, -2n, [5, 6, 7, 8], 2, null, 'GPU', { cache_salt: 'tenant-a' }];
    const map = { ...STORED, block_hashes: hashes, parent_block_hash: -2n, cache_salt: 'tenant-a', session_id: null };
    const right = { hashes: [2n ** 64n - 1n, 2n ** 63n], parent: 2n ** 64n - 2n, adapter: null, salt: 'tenant-a', tier: 'hbm' };
    expect(decodeOne(list)).toMatchObject(right);
    expect(decodeOne(map)).toEqual(decodeOne(list));
    expect(decodeOne(['BlockStored', [1n, 2n], null, [5, 6, 7, 8], 2, null, 'CPU_PINNED'])).toMatchObject({ salt: null, tier: 'host' });
    expect(decodeOne(['BlockRemoved', [-1n], 'DISK'])).toMatchObject({ hashes: [2n ** 64n - 1n], tier: 'store' });
    expect(() => decodeOne({ ...STORED, cache_salt: 7 })).toThrow('cache_salt');
  });

  it('does not name blocks of pairs of tokens', () => {
    expect(
      decodeOne([
        'BlockStored',
        [1],
        null,
        [
          [5, 6],
          [6, 7],
        ],
        2,
        null,
        'GPU',
      ]),
    ).toMatchObject({ hashes: [1n], tokens: new Int32Array(0) });
  });

  it('reads lists as it reads maps, also short ones of old versions', () => {
    const map = { ...STORED, lora_name: 'a', extra_keys: [['a', 'salt'], null], group_idx: 1, kv_cache_spec_kind: 'full_attention' };
    const list = ['BlockStored', [1, 2], null, [5, 6, 7, 8], 2, null, 'GPU', 'a', [['a', 'salt'], null], 1, 'full_attention'];
    expect(decodeOne(list)).toEqual(decodeOne(map));
    expect(decodeOne(['BlockStored', [1, 2], null, [5, 6, 7, 8], 2, null])).toEqual(decodeOne(STORED));
    expect(decodeOne(['BlockRemoved', [1], 'CPU_PINNED'])).toEqual({ type: 'removed', hashes: [1n], tier: 'host', group: null });
    expect(decodeOne(['BlockRemoved', [1]])).toEqual({ type: 'removed', hashes: [1n], tier: 'hbm', group: null });
    expect(decodeOne(['AllBlocksCleared'])).toEqual({ type: 'cleared' });
    expect(decodeOne({ type: 'AllBlocksCleared' })).toEqual({ type: 'cleared' });
  });

  it('makes one form of all forms of a hash', () => {
    const hashes = (...block_hashes: unknown[]) => decodeOne({ type: 'BlockRemoved', block_hashes, medium: null });
    expect(hashes(2n ** 64n - 1n, -1n, -1, Uint8Array.of(1, 0), 7)).toMatchObject({
      hashes: [2n ** 64n - 1n, 2n ** 64n - 1n, 2n ** 64n - 1n, 256n, 7n],
    });
    const wide = new Uint8Array(32).fill(0xab);
    expect(hashes(wide)).toMatchObject({ hashes: [BigInt(`0x${'ab'.repeat(32)}`)] });
  });

  it.each([
    ['GPU', 'hbm'],
    [null, 'hbm'],
    ['CPU', 'host'],
    ['cpu', 'host'],
    ['CPU_PINNED', 'host'],
    ['STORAGE', 'store'],
    ['FS', 'store'],
    ['OBJ', 'store'],
    ['DISK', 'store'],
    ['EXTERNAL', 'store'],
  ])('calls medium %s %s', (medium, tier) => {
    expect(decodeOne({ ...STORED, medium })).toMatchObject({ tier });
    expect(decodeOne({ type: 'BlockRemoved', block_hashes: [1], medium })).toMatchObject({ tier });
  });

  it('counts and leaves out what it does not know, and ignores unknown fields', () => {
    const payload = batch({ ...STORED, medium: 'TAPE' }, { type: 'BlockMoved' }, { ...STORED, later: { deep: [1] } }, ['Other', 1]);
    const { events, skipped } = decodeBatch(payload);
    expect([events.length, skipped]).toEqual([1, 3]);
  });

  it("leaves out another instance's memory, but not a shared store", () => {
    expect(decodeOne({ ...STORED, medium: 'CPU', locality: 'REMOTE' })).toBeUndefined();
    expect(decodeOne({ ...STORED, medium: 'CPU', locality: 'LOCAL' })).toMatchObject({ tier: 'host' });
    expect(decodeOne({ ...STORED, medium: 'OBJ', locality: 'REMOTE' })).toMatchObject({ tier: 'store' });
  });

  it('keeps apart text and everything else among the extra keys', () => {
    const extra_keys = [['salt', ['image', 0], Uint8Array.of(1)], null];
    expect(decodeOne({ ...STORED, extra_keys })).toMatchObject({
      extraKeys: [[{ kind: 'text', text: 'salt' }, { kind: 'opaque' }, { kind: 'opaque' }], []],
    });
  });

  it.each([
    ['batch', encode(7)],
    ['batch', encode([1.5])],
    ['events', encode([1.5, 3])],
    ['events[0]', batch(7)],
    ['events[0].type', batch({})],
    ['events[0].type', batch([1])],
    ['events[1].block_hashes', batch(STORED, { ...STORED, block_hashes: 3 })],
    ['events[0].block_hashes', batch({ ...STORED, block_hashes: ['text'] })],
    ['events[0].block_hashes', batch({ ...STORED, block_hashes: [1.5] })],
    ['events[0].block_hashes', batch({ ...STORED, block_hashes: [new Uint8Array(65)] })],
    ['events[0].block_hashes', batch({ ...STORED, block_hashes: [new Uint8Array(0)] })],
    ['events[0].parent_block_hash', batch({ ...STORED, parent_block_hash: true })],
    ['events[0].token_ids', batch({ ...STORED, token_ids: [-1] })],
    ['events[0].token_ids', batch({ ...STORED, token_ids: [2 ** 31] })],
    ['events[0].token_ids', batch({ ...STORED, token_ids: [1.5] })],
    ['events[0].block_size', batch({ ...STORED, block_size: -2 })],
    ['events[0].medium', batch({ ...STORED, medium: 3 })],
    ['events[0].extra_keys', batch({ ...STORED, extra_keys: ['salt'] })],
    ['payload', Uint8Array.of(0x93)],
    ['payload', new Uint8Array(MAX_PAYLOAD_BYTES + 1)],
  ])('says what is wrong: %s', (field, payload) => {
    const error = (() => {
      try {
        decodeBatch(payload);
        return null;
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(EventFormatError);
    expect((error as EventFormatError).field).toBe(field);
    expect((error as EventFormatError).message).toMatch(/expected .+, got /);
  });
});
