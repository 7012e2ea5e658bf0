import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { parseRequest } from '../../edge/index.ts';
import { openEndpoint } from '../../instances/endpoint.ts';
import { Instance } from '../../instances/instance.ts';
import { BootstrapSpeech } from './speech.ts';

const clock = new FakeClock();
const deadlines = { prefillMs: 1, pullMs: 1, firstTokenMs: 1, idleMs: 1, totalMs: 1 };

function speech(fields: object = {}) {
  const request = parseRequest('completion', Buffer.from(JSON.stringify({ model: 'm', prompt: 'p', ...fields })), 'm');
  let rooms = 0;
  const newRoom = () => ++rooms;
  return new BootstrapSpeech({ request, id: 'r', salt: '', created: 1, seed: 9, deadlines, clock, trace: () => '', session: 's', newRoom });
}

function prefillInstance(): Instance {
  return new Instance({ id: 'p', incarnation: 'i', role: 'prefill', published: openEndpoint('http://127.0.0.1:1', clock), now: 0 });
}

const bodyOf = (message: { readonly body: Buffer }) => JSON.parse(message.body.toString()) as Record<string, unknown>;

describe('BootstrapSpeech', () => {
  it('has a room and a name of its own for each attempt', () => {
    const one = speech();
    const [first, second] = [bodyOf(one.prefill(prefillInstance())), bodyOf(one.prefill(prefillInstance()))];
    expect([first['bootstrap_room'], first['rid'], second['bootstrap_room'], second['rid']]).toEqual([1, 's-1', 2, 's-2']);
  });

  it('blames the other end for what is said of a hand-off, only while there is one', () => {
    const one = speech({ stream: true });
    expect(one.suspect('Decode transfer failed: the prefill instance could be dead')).toBe('decode');
    one.prefill(prefillInstance());
    expect(one.suspect('Decode transfer failed: the prefill instance could be dead')).toBe('prefill');
    expect([one.suspect('out of memory'), one.suspect(null)]).toEqual(['decode', 'decode']);
    one.spoken();
    expect(one.suspect('Decode transfer failed')).toBe('decode');
  });

  it('does not tell a client of names and rooms that it has no part in', () => {
    const one = speech();
    one.prefill(prefillInstance());
    const said = (message: string) => one.misread(Buffer.from(JSON.stringify({ object: 'error', message })));
    expect(said('Duplicate request ID detected: s-1')).toBe(true);
    expect(said("Invalid request: Disaggregated request received without bootstrap room id. req.rid='s-1'")).toBe(true);
    expect(said('bootstrap_room=1 is in use')).toBe(true);
    expect(said('max_tokens must be positive')).toBe(false);
  });

  it("does not take a client's own words for talk of names and rooms", () => {
    const one = speech();
    one.prefill(prefillInstance());
    const message = 'Failed to compile regex: Duplicate request ID detected: bootstrap_room=9 bootstrap room id (';
    expect(one.misread(Buffer.from(JSON.stringify({ object: 'error', message })))).toBe(false);
  });

  it('resumes what is greedy; a seed is no promise of SGLang', () => {
    expect(speech({ temperature: 0 }).whyNotResumed()).toBeNull();
    expect(speech({ temperature: 1, seed: 4 }).whyNotResumed()).toContain('only greedy ones');
  });
});
