import { describe, expect, it } from 'vitest';
import { HeadError, parseHead } from './head.ts';

describe('parseHead', () => {
  it('reads what the router needs', () => {
    const head = parseHead(
      'HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\ncontent-length: 12\r\nRetry-After: 3\r\nX-Sluice-Report: {"a":1}\r\nother: x',
    );
    expect(head).toEqual({
      status: 429,
      framing: { kind: 'length', bytes: 12 },
      keepAlive: true,
      contentType: 'application/json',
      retryAfter: '3',
      report: '{"a":1}',
    });
  });

  it.each([
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked', 'chunked'],
    ['HTTP/1.1 204 No Content', 'none'],
    ['HTTP/1.1 100 Continue', 'none'],
    ['HTTP/1.1 200\r\ncontent-length: 0', 'length'],
    ['HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5', 'length'],
  ])('frames %j as %s', (text, kind) => {
    expect(parseHead(text).framing.kind).toBe(kind);
  });

  it.each([
    ['HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close', false],
    ['HTTP/1.1 200 OK\r\ncontent-length: 1\r\nConnection: Keep-Alive', true],
    ['HTTP/1.0 200 OK\r\ncontent-length: 1', false],
    ['HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive', true],
  ])('sees whether %j keeps the connection: %s', (text, keepAlive) => {
    expect(parseHead(text).keepAlive).toBe(keepAlive);
  });

  it.each([
    ['a status line of another protocol', 'HTTP/2 200 OK\r\ncontent-length: 1'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\ncontent-length: 1'],
    ['nothing', ''],
    ['a body without framing', 'HTTP/1.1 200 OK'],
    ['both framings', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2'],
    ['a negative length', 'HTTP/1.1 200 OK\r\ncontent-length: -1'],
    ['a length with a sign', 'HTTP/1.1 200 OK\r\ncontent-length: +1'],
    ['a length list', 'HTTP/1.1 200 OK\r\ncontent-length: 1, 1'],
    ['another encoding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked'],
    ['two encodings', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked'],
    ['a name with a space', 'HTTP/1.1 200 OK\r\ncontent-length : 1'],
    ['a folded line', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\n folded: 1'],
    ['a line without colon', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\nnonsense'],
    ['a bare line feed in a value', 'HTTP/1.1 200 OK\r\nx-sluice-report: a\nb\r\ncontent-length: 1'],
  ])('refuses %s', (_what, text) => {
    expect(() => parseHead(text)).toThrow(HeadError);
  });
});
