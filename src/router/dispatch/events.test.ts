import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventFilter } from './events.ts';

const event = (text: string) => `data: {"id":"x","choices":[{"text":${JSON.stringify(text)},"finish_reason":null}]}\n\n`;
const FINISH = 'data: {"id":"x","choices":[{"text":"","finish_reason":"length"}]}\n\n';
const USAGE = 'data: {"id":"x","choices":[],"usage":{"completion_tokens":3}}\n\n';
const DONE = 'data: [DONE]\n\n';

function feed(filter: EventFilter, text: string, cuts: readonly number[] = []): string {
  const bytes = Buffer.from(text);
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  let out = '';
  for (const [index, to] of edges.slice(1).entries()) {
    const piece = Buffer.from(bytes.subarray(edges[index], to));
    out += filter.take(piece)?.toString() ?? '';
    // The buffer that the bytes came in is used again.
    piece.fill(0);
  }
  return out;
}

describe('EventFilter', () => {
  it('removes the comments and keeps the ids, however the bytes are cut', () => {
    const texts = fc.array(fc.record({ text: fc.string(), ids: fc.array(fc.nat(2 ** 31 - 1), { minLength: 1, maxLength: 4 }) }), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(texts, fc.array(fc.nat(4000), { maxLength: 8 }), (events, cuts) => {
        const filter = new EventFilter();
        const sent = events.map(({ text, ids }) => `: ${ids.join(',')}\n${event(text)}`).join('');
        const kept = events.map(({ text }) => event(text)).join('');
        expect(feed(filter, sent + FINISH + USAGE + DONE, cuts)).toBe(kept + FINISH + USAGE + DONE);
        expect(filter.tokenIds).toEqual(events.flatMap(({ ids }) => ids));
        expect([filter.done, filter.finishReason, filter.usage]).toEqual([true, 'length', true]);
      }),
    );
  });

  it('gives out whole events only, and counts no id of half an event', () => {
    const filter = new EventFilter();
    expect(feed(filter, `: 1\n${event('a')}: 2\n${event('b').slice(0, 30)}`)).toBe(event('a'));
    expect(filter.tokenIds).toEqual([1]);
    filter.restart();
    expect(feed(filter, `: 2\n${event('b')}`)).toBe(event('b'));
    expect(filter.tokenIds).toEqual([1, 2]);
  });

  it('holds back an error of the engine and what comes after it', () => {
    const filter = new EventFilter();
    const error = 'data: {"error":{"message":"lost","code":"internal"}}\n\n';
    expect(feed(filter, `: 1\n${event('a')}${error}${event('b')}`)).toBe(event('a'));
    expect(filter.stopped).toMatchObject({ kind: 'error', text: expect.stringContaining('"lost"') });
    filter.restart();
    expect([filter.stopped, feed(filter, event('c'))]).toEqual([null, event('c')]);
  });

  it('is not misled by text that looks like the end or an error', () => {
    const filter = new EventFilter();
    const text = event('"finish_reason":"stop" data: [DONE] "error" \n\n "usage":{');
    expect(feed(filter, text)).toBe(text);
    expect([filter.done, filter.finishReason, filter.stopped]).toEqual([false, null, null]);
  });

  it('after the finish lets pass only what the client lacks', () => {
    const filter = new EventFilter();
    feed(filter, `: 1\n${event('a')}${FINISH}`);
    filter.restart();
    expect(feed(filter, FINISH + USAGE + DONE)).toBe(USAGE + DONE);
  });

  it('does not collect an event without end', () => {
    const filter = new EventFilter();
    filter.take(Buffer.alloc(3 << 20, 97));
    expect(() => filter.take(Buffer.alloc(3 << 20, 97))).toThrow(RangeError);
  });

  it('notes that the stream goes on elsewhere, and hands nothing of that on', () => {
    const event = 'data: {"id":"a","choices":[{"index":0,"text":"x","logprobs":null,"finish_reason":null}]}\n\n';
    for (const cut of [1, 9, event.length + 3]) {
      const filter = new EventFilter();
      const all = Buffer.from(`: 17\n${event}: moved\n\n`);
      const out = [filter.take(all.subarray(0, cut)), filter.take(all.subarray(cut))].map((piece) => piece?.toString() ?? '').join('');
      expect(out).toBe(event);
      expect(filter).toMatchObject({ moved: true, tokenIds: [17], done: false });
      filter.restart();
      expect(filter.moved).toBe(false);
    }
  });
});
