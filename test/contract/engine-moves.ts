/** What every engine of ours promises whoever moves a running request (docs/engine-protocol.md). Runs against any EngineCore. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineCore, HandOffTicket, Role } from '../../src/engines/index.ts';
import { promptOf } from './engine-contract.ts';
import { COMPLETIONS } from './engine-refusals.ts';
import { type Face, type Json, jsonOf, parseStream, post, startFace, stream, until } from './face.ts';

const CHAT = '/v1/chat/completions';

/** @param tokens that a stream has: so many that it is moved before its end, however quick the engine is */
export function moveContract(name: string, tokens: number, makeCore: (instance: string, role: Role) => Promise<EngineCore>): void {
  const sampling = { temperature: 0.8, seed: 42, ignore_eos: true, max_tokens: tokens, stream: true };
  describe(`${name}: moving a running request`, () => {
    let source: Face;
    let target: Face;
    let count = 0;

    beforeAll(async () => {
      [source, target] = await Promise.all([makeCore('from', 'decode').then(startFace), makeCore('to', 'decode').then(startFace)]);
    });
    afterAll(() => Promise.all([source.close(), target.close()]));

    const command = async (face: Face, verb: string, fields: Json) => {
      const answer = await post(face, `/sluice/session/${verb}`, fields);
      if (answer.status !== 200) throw new Error(`${verb} was answered ${answer.status}: ${await answer.text()}`);
      return answer;
    };
    const nothingHeld = (face: Face) =>
      until(() => face.core.load().running + face.core.load().waiting + face.core.load().leases === 0, 'nothing is held');

    it.each([
      [COMPLETIONS, { prompt: promptOf(60, 'move') }, {}],
      [COMPLETIONS, { prompt: promptOf(60, 'stop') }, { stop: ['\u0000', 'zzzz'], logprobs: 2 }],
      [CHAT, { messages: [{ role: 'user', content: promptOf(60, 'chat') }] }, { stream_options: { include_usage: true } }],
    ])('%s: both halves together are what one instance says (%j, %j)', async (path, ask, more) => {
      const body = { ...sampling, ...ask, ...more };
      const session = `s-${count++}`;
      const unbroken = await stream(target, path, { ...body, cache: 'of the other' }, { 'x-sluice-salt': 'elsewhere' });
      const first = await Reader.open(source, path, { body, headers: { 'x-sluice-session': `${session}/1` } });
      await until(() => first.tokens >= 10, 'ten tokens');
      const headers = {
        'x-sluice-session': `${session}/2`,
        'x-sluice-leg': 'hold',
        'x-sluice-tokens': '1',
        'x-sluice-resume': first.ids.join(','),
      };
      let known = first.tokens;
      expect((await post(target, path, body, headers)).status).toBe(200);
      const move = { session, generation: 2 };
      const { ticket } = await jsonOf<{ ticket: HandOffTicket }>(await command(source, 'offer', move));
      expect(ticket.blocks).toBeGreaterThan(0);
      expect(await jsonOf(await command(target, 'pull', { ...move, ticket, deadlineMs: 5_000 }))).toMatchObject({
        handOff: { failed: null },
      });
      const news = () => {
        const from = known;
        known = first.tokens;
        return { ...move, from, tokens: first.ids.slice(from) };
      };
      await command(target, 'follow', news());
      await command(source, 'stop', move);
      await first.ended;
      expect(first.text).toMatch(/: moved\n\n$/);
      const second = await command(target, 'commit', { ...news(), deadlineMs: 5_000 });
      const rest = parseStream(await second.text(), second.headers.get('x-sluice-report'));
      await command(source, 'release', move);
      const before = parseStream(first.text.replace(/: moved\n\n$/, ''), null);
      expect(first.tokens).toBeLessThan(tokens);
      expect(before.text + rest.text).toBe(unbroken.text);
      expect([...before.tokens, ...rest.tokens]).toEqual(unbroken.tokens);
      expect(rest).toMatchObject({ finish: unbroken.finish, done: true });
      expect(rest.report.reused.peer).toBeGreaterThan(0);
      expect(rest.events.at(-1)?.usage?.completion_tokens).toBe(unbroken.events.at(-1)?.usage?.completion_tokens);
      await Promise.all([nothingHeld(source), nothingHeld(target)]);
    });

    it('a place that is given up leaves nothing, and the source decodes on', async () => {
      const body = { ...sampling, prompt: promptOf(60, 'give up') };
      const session = `s-${count++}`;
      const unbroken = await stream(target, COMPLETIONS, body, { 'x-sluice-salt': 'elsewhere' });
      const first = await Reader.open(source, COMPLETIONS, { body, headers: { 'x-sluice-session': `${session}/1` } });
      await until(() => first.tokens >= 10, 'ten tokens');
      const headers = { 'x-sluice-session': `${session}/2`, 'x-sluice-leg': 'hold', 'x-sluice-resume': first.ids.join(',') };
      await post(target, COMPLETIONS, body, headers);
      const move = { session, generation: 2 };
      await command(source, 'offer', move);
      expect(target.core.load().running + target.core.load().waiting + source.core.load().leases).toBeGreaterThan(0);
      await Promise.all([command(target, 'release', move), command(source, 'release', move)]);
      await nothingHeld(target);
      await first.ended;
      expect(parseStream(first.text, null)).toMatchObject({ text: unbroken.text, done: true });
      await nothingHeld(source);
    });

    it('a draining instance gives its requests away, and takes none', async () => {
      const leaving = await makeCore('leaving', 'decode').then(startFace);
      const body = { ...sampling, prompt: promptOf(60, 'drain') };
      const session = `s-${count++}`;
      const first = await Reader.open(leaving, COMPLETIONS, { body, headers: { 'x-sluice-session': `${session}/1` } });
      await until(() => first.tokens >= 5, 'five tokens');
      const drained = leaving.core.drain();
      const move = { session, generation: 2 };
      expect((await post(leaving, COMPLETIONS, body, { 'x-sluice-session': 'other/1', 'x-sluice-leg': 'hold' })).status).toBe(503);
      await command(leaving, 'offer', move);
      await command(leaving, 'stop', move);
      await first.ended;
      await command(leaving, 'release', move);
      await drained;
      await leaving.close();
    });
  });
}

/** Reads a stream as it comes. */
class Reader {
  text = '';
  readonly ended: Promise<void>;

  private constructor(response: Response) {
    this.ended = this.#read(response);
  }

  static async open(face: Face, path: string, { body, headers }: { body: Json; headers: Record<string, string> }): Promise<Reader> {
    const response = await post(face, path, body, { 'x-sluice-tokens': '1', ...headers });
    if (response.status !== 200) throw new Error(await response.text());
    return new Reader(response);
  }

  /** Of whole events. */
  get ids(): number[] {
    const whole = this.text.slice(0, this.text.lastIndexOf('\n\n') + 2);
    return [...whole.matchAll(/^: ([\d,]+)$/gm)].flatMap(([, ids]) => (ids ?? '').split(',').map(Number));
  }

  get tokens(): number {
    return this.ids.length;
  }

  async #read(response: Response): Promise<void> {
    for await (const chunk of response.body ?? []) this.text += Buffer.from(chunk).toString('utf8');
  }
}
