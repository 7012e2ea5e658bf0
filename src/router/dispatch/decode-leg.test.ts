import { describe, expect, it } from 'vitest';
import type { ResponseHead } from '../upstream/index.ts';
import { DecodeLeg } from './decode-leg.ts';
import { ReplayedEvents } from './openai/events.ts';

const HEAD: ResponseHead = {
  status: 200,
  framing: { kind: 'chunked' },
  keepAlive: true,
  contentType: 'text/event-stream',
  retryAfter: null,
  report: null,
};

function text(said: string): Buffer {
  const choices = [{ index: 0, text: said, logprobs: null, finish_reason: null }];
  return Buffer.from(`data: ${JSON.stringify({ id: 'cmpl-1', created: 1, choices })}\n\n`);
}

/** What a leg tells, in words. */
function legOn(events: ReplayedEvents) {
  const told: string[] = [];
  const leg = new DecodeLeg({ events, headSpeaks: false, spoken: () => null }, true, {
    spoke: () => told.push('spoke'),
    events: (bytes) => told.push(`events ${bytes.length}`),
    skipped: () => told.push('skipped'),
    stopped: ({ kind }) => told.push(kind),
    ended: () => told.push('ended'),
    answered: ({ status }) => told.push(`answered ${status}`),
    lost: ({ message }) => told.push(message),
  });
  const read = (bytes: Buffer) => {
    leg.data(bytes);
    leg.flush();
  };
  return { leg, told, read };
}

describe('DecodeLeg', () => {
  it('has spoken with the first event, not with the head', () => {
    const { leg, told, read } = legOn(new ReplayedEvents({ choices: 1, includeUsage: false }));
    leg.head(HEAD);
    expect(told).toEqual([]);
    read(text('a'));
    expect(told).toEqual(['spoke', `events ${text('a').length}`]);
  });

  it('tells that an instance is at work which sends what the client has', () => {
    const events = new ReplayedEvents({ choices: 1, includeUsage: false });
    const first = legOn(events);
    first.leg.head(HEAD);
    first.read(text('abcd'));
    events.restart();
    const second = legOn(events);
    second.leg.head(HEAD);
    for (const piece of ['a', 'b', 'cd', 'e']) second.read(text(piece));
    expect(second.told).toEqual(['spoke', 'skipped', 'skipped', 'skipped', `events ${text('e').length}`]);
  });

  it('reads a refusal of a stream as a whole answer', () => {
    const { leg, told, read } = legOn(new ReplayedEvents({ choices: 1, includeUsage: false }));
    leg.head({ ...HEAD, status: 400 });
    read(Buffer.from('{}'));
    leg.end();
    expect(told).toEqual(['answered 400']);
  });
});
