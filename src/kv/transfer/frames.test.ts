import fc from 'fast-check';
import { expect, it } from 'vitest';
import { blockFrameBytes, controlFrame, decodeRequest, encodeRequest, FRAME, HEADER_BYTES, maxRequestBytes, readHeader } from './frames.ts';

const name = fc.string({ unit: fc.constantFrom('a', 'b', 'Z', '0', '9', '-', '_', '.'), maxLength: 128 });
const key = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const request = fc.record({
  lease: name.filter((text) => text.length > 0),
  peer: name,
  from: fc.nat(10_000),
  keys: fc.array(key, { maxLength: 20 }),
  blockTokens: fc.integer({ min: 1, max: 64 }),
  bytesPerBlock: fc.integer({ min: 1, max: 1 << 20 }),
});

it('reads a request as it was written', () => {
  fc.assert(
    fc.property(request, (wanted) => {
      const frame = encodeRequest(wanted);
      const header = readHeader(frame, 0);
      if ('malformed' in header) throw new Error(header.malformed);
      expect(header.type).toBe(FRAME.request);
      expect(header.length).toBe(frame.length - HEADER_BYTES);
      expect(header.length).toBeLessThanOrEqual(maxRequestBytes(wanted.keys.length));
      expect(decodeRequest(header, frame.subarray(HEADER_BYTES))).toEqual(wanted);
    }),
  );
});

it('refuses a request with any bit flipped in what it says', () => {
  const frame = encodeRequest({ lease: 'l', peer: '', from: 0, keys: ['00'.repeat(16)], blockTokens: 16, bytesPerBlock: 64 });
  for (let bit = 0; bit < frame.length * 8; bit++) {
    const flipped = Buffer.from(frame);
    flipped[bit >>> 3] = (flipped[bit >>> 3] as number) ^ (1 << (bit & 7));
    const header = readHeader(flipped, 0);
    if ('malformed' in header || header.type !== FRAME.request || header.length !== frame.length - HEADER_BYTES) continue;
    const decoded = decodeRequest(header, flipped.subarray(HEADER_BYTES));
    // Only the number of the first block is free: a client that gets it back changed says so.
    if (!('malformed' in decoded)) expect(bit >= 64 && bit < 96).toBe(true);
  }
});

it.each([
  ['too short', 0, Buffer.alloc(15)],
  ['checksum', 1, Buffer.alloc(16)],
])('says what is wrong with a request: %s', (words, crc, payload) => {
  const header = { type: FRAME.request, index: 0, length: payload.length, crc, count: 0 };
  expect(decodeRequest(header, payload)).toEqual({ malformed: expect.stringContaining(words), version: false });
});

it('refuses lengths that do not add up and numbers beyond the format', () => {
  const base = { lease: 'lease', peer: 'p', from: 0, keys: ['ab'.repeat(16)], blockTokens: 16, bytesPerBlock: 64 };
  const decodeWith = (change: (frame: Buffer) => Buffer, fields: object = {}) => {
    const frame = change(encodeRequest(base));
    const header = readHeader(frame, 0);
    if ('malformed' in header) throw new Error(header.malformed);
    return decodeRequest({ ...header, ...fields }, frame.subarray(HEADER_BYTES));
  };
  const same = (frame: Buffer) => frame;
  expect(decodeWith(same)).toEqual(base);
  expect(decodeWith(same, { count: 2 })).toMatchObject({ malformed: 'a request of a wrong length' });
  expect(decodeWith(same, { index: 0xffffffff })).toMatchObject({ malformed: 'a request beyond the last block number' });
});

it('knows frames of another version and bytes that are none', () => {
  const frame = controlFrame(FRAME.ack, 7, 0);
  expect(readHeader(frame, 0)).toEqual({ type: FRAME.ack, index: 7, length: 0, crc: 0, count: 0 });
  frame[4] = 1;
  expect(readHeader(frame, 0)).toEqual({ malformed: 'protocol version 1, expected 2', version: true });
  expect(readHeader(Buffer.alloc(HEADER_BYTES), 0)).toEqual({ malformed: 'bytes that are no frame', version: false });
});

it('pads block frames to whole 8 bytes', () => {
  expect(blockFrameBytes({ blockTokens: 16, bytesPerBlock: 16_384 })).toBe(32 + 64 + 16_384);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 4096 }), (blockTokens, bytesPerBlock) => {
      const bytes = blockFrameBytes({ blockTokens, bytesPerBlock });
      expect(bytes % 8).toBe(0);
      expect(bytes - 32 - blockTokens * 4 - bytesPerBlock).toBeLessThan(8);
    }),
  );
});
