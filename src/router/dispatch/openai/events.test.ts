import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReplayedEvents } from './events.ts';

/** vLLM's own shapes (0.32.0), `created` and `id` differing from instance to instance. */
class Script {
  readonly #created: number;
  readonly #chat: boolean;

  constructor(created: number, chat: boolean) {
    this.#created = created;
    this.#chat = chat;
  }

  event(fields: object): string {
    const object = this.#chat ? 'chat.completion.chunk' : 'text_completion';
    return `data: ${JSON.stringify({ id: `cmpl-${this.#created}`, object, created: this.#created, model: 'a"b', ...fields })}\n\n`;
  }

  role(): string {
    return this.event({
      choices: [{ index: 0, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null }],
      prompt_token_ids: null,
    });
  }

  text(text: string, finish: string | null = null): string {
    const said = this.#chat ? { delta: { content: text } } : { text };
    return this.event({ choices: [{ index: 0, ...said, logprobs: null, finish_reason: finish, stop_reason: null, token_ids: null }] });
  }

  usage(completion: number): string {
    const details = { prompt_tokens_details: { cached_tokens: 31 } };
    return this.event({
      choices: [],
      usage: { prompt_tokens: 32, total_tokens: 32 + completion, completion_tokens: completion, ...details },
    });
  }

  whole(pieces: readonly string[]): string {
    const last = pieces.length - 1;
    const texts = pieces.map((piece, index) => this.text(piece, index === last ? 'stop' : null));
    return `${this.#chat ? this.role() : ''}${texts.join('')}${this.usage(pieces.length)}data: [DONE]\n\n`;
  }
}

function feed(events: ReplayedEvents, text: string | Buffer, cuts: readonly number[] = []): string {
  const bytes = Buffer.from(text);
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  let out = '';
  for (const [index, to] of edges.slice(1).entries()) {
    const piece = Buffer.from(bytes.subarray(edges[index], to));
    out += events.take(piece)?.toString() ?? '';
    // The buffer that the bytes came in is used again.
    piece.fill(0);
  }
  return out;
}

function texts(stream: string): string {
  const payloads = stream.split('\n\n').flatMap((event) => (event.startsWith('data: {') ? [JSON.parse(event.slice(6)) as Payload] : []));
  return payloads.flatMap(({ choices }) => choices.map(({ text, delta }) => text ?? delta?.content ?? '')).join('');
}

interface Payload {
  readonly choices: readonly { readonly text?: string; readonly delta?: { readonly content?: string } }[];
}

const reader = (includeUsage = true, choices = 1) => new ReplayedEvents({ choices, includeUsage });
const anyText = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('"', '\\', '\n', '😀', '","x":"', 'é', ' '));
const anyPieces = fc.array(anyText, { minLength: 1, maxLength: 8 });
const isChat = fc.boolean();

describe('ReplayedEvents', () => {
  it('hands a good stream on as it came, however its bytes are cut', () => {
    fc.assert(
      fc.property(isChat, anyPieces, fc.array(fc.nat(5000), { maxLength: 8 }), (chat, pieces, cuts) => {
        const stream = new Script(1_795_000_001, chat).whole(pieces);
        const events = reader();
        expect(feed(events, stream, cuts)).toBe(stream);
        expect([events.done, events.finishReason, events.usage, events.tokens]).toEqual([true, 'stop', true, pieces.length]);
        expect(events.engineUsage).toEqual({ promptTokens: 32, cachedTokens: 31 });
      }),
    );
  });

  it('goes on at the very byte on an instance that cuts the text in other ways, wherever the first broke off', () => {
    const anyCut = fc.record({ first: anyPieces, at: fc.integer({ min: 0, max: 1000 }), merge: fc.integer({ min: 1, max: 4 }) });
    fc.assert(
      fc.property(isChat, anyCut, fc.array(fc.nat(5000), { maxLength: 5 }), (chat, { first, at, merge }, cuts) => {
        const one = new Script(1_795_000_001, chat).whole(first);
        const bytes = Buffer.from(one);
        const events = reader();
        const before = feed(events, bytes.subarray(0, Math.floor((at * bytes.length) / 1000)));
        const wasDone = events.done;
        events.restart();
        const merged = first.join('');
        const pieces = Array.from({ length: Math.ceil(first.length / merge) }, (_, index) =>
          first.slice(index * merge, (index + 1) * merge).join(''),
        );
        const after = wasDone ? '' : feed(events, new Script(1_795_000_002, chat).whole(pieces), cuts);
        const all = before + after;
        expect(events.stopped).toBeNull();
        expect(texts(all)).toBe(merged);
        if (before !== '') expect(all).not.toContain('1795000002');
        expect(all.split('"role"').length - 1).toBe(chat ? 1 : 0);
        expect(all.split('"finish_reason":"stop"').length - 1).toBe(1);
        expect(all.split('"usage"').length - 1).toBe(1);
        expect(all.endsWith('data: [DONE]\n\n')).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  it('goes on through characters of several bytes', () => {
    const pieces = ['ü', '😀', '水"\\', '\u0007x'];
    const script = new Script(1, false);
    for (let sent = 1; sent <= pieces.length; sent += 1) {
      const events = reader();
      const before = feed(
        events,
        pieces
          .slice(0, sent)
          .map((piece) => script.text(piece))
          .join(''),
      );
      events.restart();
      const after = feed(events, new Script(2, false).whole([pieces.slice(0, 3).join(''), pieces.slice(3).join('')]));
      expect(texts(before + after)).toBe(pieces.join(''));
    }
  });

  it('notices another text, a shorter one too', () => {
    const script = new Script(1, false);
    for (const other of [
      ['ab', 'XX', 'ef'],
      ['ab', 'c'],
      ['Xb', 'cd', 'ef', 'gh'],
    ]) {
      const events = reader();
      feed(events, ['ab', 'cd', 'ef'].map((piece) => script.text(piece)).join(''));
      events.restart();
      expect(feed(events, new Script(2, false).whole(other))).toBe('');
      expect(events.stopped?.kind).toBe('diverged');
    }
  });

  it('gives out nothing before a token is there', () => {
    const events = reader();
    const chat = new Script(1, true);
    expect(feed(events, chat.role())).toBe('');
    expect(events.heard).toBe(false);
    expect(feed(events, 'data: {"error": {"message": "x", "code": 500}}\n\ndata: [DONE]\n\n')).toBe('');
    expect(events.stopped).toMatchObject({ kind: 'error', text: expect.stringContaining('500') });
    events.restart();
    // Nothing went out, so the next instance's own `created` is right.
    const whole = new Script(2, true).whole(['a', 'b']);
    expect(feed(events, whole)).toBe(whole);
  });

  it('takes an abort that nobody asked for as a failure, and a reason that is one', () => {
    for (const [reason, kind] of [
      ['abort', 'aborted'],
      ['error', 'error'],
    ] as const) {
      const events = reader();
      const script = new Script(1, false);
      expect(feed(events, script.text('a') + script.text('', reason))).toBe(script.text('a'));
      expect(events.stopped?.kind).toBe(kind);
      expect(events.finishReason).toBeNull();
    }
  });

  it('keeps the usage that only the router asked for', () => {
    const events = reader(false);
    const script = new Script(1, false);
    expect(feed(events, script.whole(['a', 'b']))).toBe(`${script.text('a')}${script.text('b', 'stop')}data: [DONE]\n\n`);
    expect(events.tokens).toBe(2);
  });

  it('corrects what is cached after a hand-off', () => {
    const events = reader();
    events.prefillCached = 16;
    expect(feed(events, new Script(1, false).whole(['a']))).toContain('"cached_tokens":16');
  });

  it('does not take a stream for complete that has no finish', () => {
    const events = reader();
    feed(events, `${new Script(1, false).text('a')}data: [DONE]\n\n`);
    expect(events.done).toBe(false);
  });

  it('waits for all choices, and goes on with each of them', () => {
    const choice = (index: number, text: string, finish: string | null = null) =>
      new Script(1, false).event({ choices: [{ index, text, logprobs: null, finish_reason: finish }] });
    const events = reader(true, 2);
    const before = feed(events, choice(0, 'a') + choice(1, 'x') + choice(0, 'b', 'stop'));
    expect(events.finishReason).toBeNull();
    events.restart();
    const after = feed(events, choice(1, 'xy') + choice(0, 'ab', 'stop') + choice(1, 'z', 'stop'));
    expect(before + after).toBe(choice(0, 'a') + choice(1, 'x') + choice(0, 'b', 'stop') + choice(1, 'y') + choice(1, 'z', 'stop'));
    expect(events.finishReason).toBe('stop');
  });

  it('goes on in thoughts, then in what is said', () => {
    const delta = (fields: object, finish: string | null = null) =>
      new Script(1, true).event({ choices: [{ index: 0, delta: fields, logprobs: null, finish_reason: finish, token_ids: null }] });
    const events = reader();
    const before = feed(events, delta({ reasoning: 'so' }) + delta({ reasoning: ' it' }) + delta({ content: 'A' }));
    events.restart();
    const after = feed(
      events,
      delta({ reasoning: 'so it', content: 'A' }) + delta({ content: 'B' }) + delta({ content: 'C' }) + delta({}, 'stop'),
    );
    expect(before + after).toBe(before + delta({ content: 'B' }) + delta({ content: 'C' }) + delta({}, 'stop'));
  });

  it('sees that an event like the one before has another field in it', () => {
    const delta = (fields: object) =>
      new Script(1, true).event({ choices: [{ index: 0, delta: fields, logprobs: null, finish_reason: null }] });
    const events = reader();
    const before = feed(events, delta({ content: 'a' }) + delta({ content: 'b', reasoning: 'c' }));
    events.restart();
    const after = feed(events, delta({ content: 'ab' }) + delta({ reasoning: 'cd' }) + delta({ content: 'e' }));
    expect(events.stopped).toBeNull();
    expect(before + after).toBe(before + delta({ reasoning: 'd' }) + delta({ content: 'e' }));
  });

  it('sends the role once, though it comes together with text', () => {
    const delta = (fields: object) =>
      new Script(1, true).event({ choices: [{ index: 0, delta: fields, logprobs: null, finish_reason: null }] });
    const events = reader();
    const before = feed(events, delta({ role: 'assistant', content: 'a' }));
    events.restart();
    expect(before).toContain('role');
    expect(feed(events, delta({ role: 'assistant', content: 'ab' }))).toBe(delta({ content: 'b' }));
  });

  it('goes on in the arguments of a tool call, under the id that the client knows', () => {
    const call = (fields: object) =>
      new Script(1, true).event({ choices: [{ index: 0, delta: { tool_calls: [fields] }, finish_reason: null }] });
    const begin = (id: string, text: string) => call({ index: 0, id, type: 'function', function: { name: 'f', arguments: text } });
    const events = reader();
    const before = feed(events, begin('one', '') + call({ index: 0, function: { arguments: '{"a"' } }));
    events.restart();
    const after = feed(events, begin('two', '{"a":1') + call({ index: 0, function: { arguments: '}' } }));
    expect(before).toContain('"one"');
    expect(after).toBe(call({ index: 0, function: { arguments: ':1' } }) + call({ index: 0, function: { arguments: '}' } }));
  });

  it('sends each log-probability and token id once', () => {
    const scored = (tokens: readonly string[], from: number) =>
      new Script(1, false).event({
        choices: [
          {
            index: 0,
            text: tokens.join(''),
            finish_reason: null,
            token_ids: tokens.map((_, index) => from + index),
            logprobs: {
              text_offset: tokens.map((_, index) => from + index),
              token_logprobs: tokens.map(() => -1),
              tokens,
              top_logprobs: [],
            },
          },
        ],
      });
    const events = reader();
    const before = feed(events, scored(['a'], 0) + scored(['b'], 1));
    events.restart();
    const after = feed(events, scored(['a', 'b', 'c'], 0) + scored(['d'], 3));
    expect(before + after).toBe(scored(['a'], 0) + scored(['b'], 1) + scored(['c'], 2) + scored(['d'], 3));
  });

  it('does not collect an event without end', () => {
    const events = reader();
    events.take(Buffer.alloc(3 << 20, 97));
    expect(() => events.take(Buffer.alloc(3 << 20, 97))).toThrow(RangeError);
  });
});
