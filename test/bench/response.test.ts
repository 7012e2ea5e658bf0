import { describe, expect, it } from 'vitest';
import { EventReader } from './events.ts';
import { ResponseParser } from './response.ts';

function parse(parts: Buffer[]) {
  const seen = { heads: [] as [number, boolean][], bodies: [''], ends: 0 };
  const parser = new ResponseParser({
    head: (status, keepAlive) => seen.heads.push([status, keepAlive]),
    body: (part) => {
      seen.bodies[seen.bodies.length - 1] += part.toString('latin1');
    },
    end: () => {
      seen.ends += 1;
      seen.bodies.push('');
    },
  });
  for (const part of parts) parser.feed(part);
  return { ...seen, bodies: seen.bodies.slice(0, seen.ends) };
}

const TWO_ANSWERS = Buffer.from(
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 429 Too Many\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n4\r\n\r\nab\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: 1\r\n\r\n',
);

describe('ResponseParser', () => {
  it('reads the same however the bytes are cut', () => {
    const whole = parse([TWO_ANSWERS]);
    expect(whole).toEqual({
      heads: [
        [200, true],
        [429, false],
      ],
      bodies: ['hello', '\r\nababcdefghijklmnopqrstuvwxyz'],
      ends: 2,
    });
    for (let cut = 1; cut < TWO_ANSWERS.length; cut += 1) {
      expect(parse([TWO_ANSWERS.subarray(0, cut), TWO_ANSWERS.subarray(cut)])).toEqual(whole);
    }
    expect(parse([...TWO_ANSWERS].map((byte) => Buffer.from([byte])))).toEqual(whole);
  });

  it('ends an answer of no bytes', () => {
    expect(parse([Buffer.from('HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n')]).ends).toBe(1);
  });

  it.each([
    ['HTTP/1.0 200 OK\r\n\r\n', 'answer starts with'],
    ['HTTP/1.1 200 OK\r\n\r\n', 'neither content-length nor chunks'],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n', "chunk size is 'zz'"],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n', 'longer than its size'],
    [`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(300_000)}`, 'longer than'],
  ])('refuses %j', (text, reason) => {
    expect(() => parse([Buffer.from(text)])).toThrow(reason);
  });
});

describe('EventReader', () => {
  const stream = [
    ': 17\ndata: {"choices":[{"text":"a"}]}\n\n',
    'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
    'data: {"choices":[{"delta":{"content":"b"}}]}\n\n',
    ': only a comment\n\n',
    'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n',
    'data: [DONE]\n\n',
  ].join('');

  it('counts tokens, usage and the end, however cut', () => {
    for (let cut = 0; cut <= stream.length; cut += 1) {
      const reader = new EventReader();
      const counted = reader.feed(stream.slice(0, cut)) + reader.feed(stream.slice(cut));
      expect([counted, reader.tokens, reader.usageTokens, reader.done, reader.error]).toEqual([2, 2, 2, true, null]);
    }
  });

  it('keeps an error event and does not call it a token', () => {
    const reader = new EventReader();
    reader.feed('data: {"error":{"message":"text","code":"engine_failed"}}\n\n');
    expect([reader.tokens, reader.done, reader.error]).toEqual([0, false, expect.stringContaining('engine_failed')]);
  });
});
