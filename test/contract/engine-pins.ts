/** What every engine of ours promises whoever pins a context on it (docs/engine-protocol.md). Runs against any EngineCore. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineCore, PinsView, PromptReport, Role } from '../../src/engines/index.ts';
import { promptOf } from './engine-contract.ts';
import { COMPLETIONS } from './engine-refusals.ts';
import { type Face, type Json, jsonOf, post, type Refusal, startFace, stream, until } from './face.ts';

const CHAT = '/v1/chat/completions';
const LONG_MS = 600_000;
const GREEDY = { temperature: 0, ignore_eos: true, max_tokens: 1 };

interface Small {
  readonly hbmBytes: number;
  readonly hostBytes: number;
}

/** @param makeCore contexts of 512 tokens at most, with as many bytes in each tier */
export function pinContract(
  name: string,
  bytesPerBlock: number,
  makeCore: (instance: string, role: Role, small: Small) => Promise<EngineCore>,
): void {
  describe(`${name}: pinned contexts`, { timeout: 90_000 }, () => {
    let face: Face;
    let crowd = 0;
    /** HBM of one context, host memory of one and a half. */
    const small = { hbmBytes: 32 * bytesPerBlock, hostBytes: 48 * bytesPerBlock };
    beforeAll(async () => {
      face = await makeCore('pinning', 'mixed', small).then(startFace);
    });
    afterAll(() => face.close());

    const view = async () => jsonOf<PinsView>(await fetch(`${face.url}/sluice/kv/pins`));
    const tell = async (verb: string, body: Json) => jsonOf<Json>(await post(face, `/sluice/kv/${verb}`, body));
    const pin = (id: string, ask: Json) => tell('pin', { id, digest: `of-${id}`, ttlMs: LONG_MS, ...ask });
    const settled = async (id: string) => {
      let found: PinsView['pins'][number] | undefined;
      await until(() => {
        found = face.core.pins?.view().pins.find((one) => one.id === id);
        return found !== undefined && found.state !== 'Computing';
      }, `${id} is settled`);
      return found;
    };
    /** Prompts of others, until nothing that may give way is left. */
    async function crowdOut(): Promise<void> {
      for (let other = 0; other < 4; other += 1) {
        crowd += 1;
        const prompt = Array.from({ length: 480 }, (_, at) => 1 + ((crowd * 7_919 + at * (31 + crowd)) % 300));
        await jsonOf(await post(face, COMPLETIONS, { prompt, ...GREEDY }));
      }
    }
    async function reused(path: string, ask: Json, headers: Record<string, string> = {}): Promise<PromptReport['reused']> {
      const { report } = await stream(face, path, { ...GREEDY, ...ask }, headers);
      if (report === undefined) throw new Error('no report');
      return report.reused;
    }

    it('stay through pressure that takes everything else, and go when they are let go', async () => {
      const text = promptOf(36, 'kept');
      await pin('a', { prompt: text });
      const held = await settled('a');
      expect(held).toMatchObject({ state: 'Held', trouble: null, bytes: (held?.blocks ?? 0) * bytesPerBlock });
      expect(held?.blocks).toBeGreaterThan(3);
      expect(await view()).toMatchObject({
        capacityBytes: small.hostBytes,
        pinnableBytes: small.hostBytes / 2,
        pinnedBytes: held?.bytes,
      });
      expect(face.core.load().kv.host).toMatchObject({ pinnedBytes: held?.bytes });
      const blockTokens = face.core.info.identity.blockTokens;
      await crowdOut();
      const { hbm, host } = await reused(COMPLETIONS, { prompt: `${text} and a question` });
      expect(hbm + host).toBe((held?.blocks ?? 0) * blockTokens);

      expect(await tell('unpin', { id: 'a' })).toEqual({ unpinned: true });
      expect(await tell('unpin', { id: 'a' })).toEqual({ unpinned: false });
      expect(await view()).toMatchObject({ pinnedBytes: 0, pins: [] });
      await crowdOut();
      expect(await reused(COMPLETIONS, { prompt: `${text} and a question` })).toMatchObject({ hbm: 0, host: 0 });
    });

    it('are the very beginning of every chat that begins so, whatever is asked', async () => {
      const system = { role: 'system', content: promptOf(24, 'system') };
      await pin('chat', { messages: [system] });
      const held = await settled('chat');
      await crowdOut();
      for (const content of ['Which?', '\n  three', '77']) {
        const { hbm, host } = await reused(CHAT, { messages: [system, { role: 'user', content }] });
        expect(hbm + host).toBe((held?.blocks ?? 0) * face.core.info.identity.blockTokens);
      }
      await tell('unpin', { id: 'chat' });
    });

    it('are of one tenant when they are asked for with a salt', async () => {
      const text = promptOf(24, 'salted');
      await pin('salted', { prompt: text, salt: 'team' });
      const held = await settled('salted');
      expect(await reused(COMPLETIONS, { prompt: text })).toMatchObject({ hbm: 0, host: 0 });
      const { hbm, host } = await reused(COMPLETIONS, { prompt: `${text} more` }, { 'x-sluice-salt': 'team' });
      expect(hbm + host).toBe((held?.blocks ?? 0) * face.core.info.identity.blockTokens);
      await tell('unpin', { id: 'salted' });
    });

    it('end when nobody renews them, and not before', async () => {
      await pin('short', { prompt: promptOf(24, 'short') });
      expect(await settled('short')).toMatchObject({ state: 'Held' });
      expect(await tell('renew', { id: 'short', digest: 'another', ttlMs: LONG_MS })).toEqual({ renewed: false });
      expect(await tell('renew', { id: 'short', digest: 'of-short', ttlMs: LONG_MS })).toEqual({ renewed: true });
      expect((await view()).pins[0]?.leftMs).toBeGreaterThan(LONG_MS - 60_000);
      await tell('renew', { id: 'short', digest: 'of-short', ttlMs: 50 });
      await until(() => face.core.pins?.view().pins.length === 0, 'it ended');
      expect(face.core.load().kv.host).toMatchObject({ pinnedBytes: 0 });
    });

    it('say why they are not to be had, and take nothing then', async () => {
      await pin('tiny', { prompt: 'a' });
      expect(await settled('tiny')).toMatchObject({ state: 'Failed', trouble: { reason: 'TooShort' } });
      await pin('first', { prompt: promptOf(32, 'first') });
      expect(await settled('first')).toMatchObject({ state: 'Held' });
      await pin('large', { prompt: promptOf(200, 'large') });
      expect(await settled('large')).toMatchObject({ state: 'Failed', trouble: { reason: 'DoesNotFit' } });
      await pin('again', { prompt: promptOf(32, 'first') });
      expect(await settled('again'), 'the same blocks count once').toMatchObject({ state: 'Held' });
      const { pins, pinnedBytes } = await view();
      expect(pinnedBytes).toBe(pins.find(({ id }) => id === 'first')?.bytes);
      for (const id of ['tiny', 'first', 'large', 'again']) await tell('unpin', { id });
      expect(await view()).toMatchObject({ pinnedBytes: 0, pins: [] });
    });

    it.each([
      [{ digest: 'd', ttlMs: 1, prompt: 'a' }, 'id'],
      [{ id: 'a b', digest: 'd', ttlMs: 1, prompt: 'a' }, 'id'],
      [{ id: 'a', digest: 'd', ttlMs: 0, prompt: 'a' }, 'ttlMs'],
      [{ id: 'a', digest: 'd', ttlMs: 1 }, 'prompt'],
      [{ id: 'a', digest: 'd', ttlMs: 1, prompt: 5 }, 'prompt'],
      [{ id: 'a', digest: 'd', ttlMs: 1, prompt: 'a', salt: 5 }, 'salt'],
      [{ id: 'a', digest: 'd', ttlMs: 1, prompt: 'a', tier: 'hbm' }, 'tier'],
      [{ id: 'a', digest: 'd', ttlMs: 1, messages: [{ role: 'nobody', content: '' }] }, 'messages[0].role'],
    ])('name the field that is wrong: %j', async (body, param) => {
      const answer = await post(face, '/sluice/kv/pin', body);
      const { error } = await jsonOf<Refusal>(answer);
      expect([answer.status, error.param]).toEqual([400, param]);
    });

    it('are let go by an engine that drains, which does not wait for them', async () => {
      const drained = await makeCore('draining', 'mixed', small).then(startFace);
      await post(drained, '/sluice/kv/pin', { id: 'a', digest: 'd', ttlMs: LONG_MS, prompt: promptOf(24, 'drain') });
      await until(() => drained.core.pins?.view().pins[0]?.state === 'Held', 'it is held');
      await drained.core.drain();
      expect(drained.core.load().kv.host).toMatchObject({ usedBytes: 0, pinnedBytes: 0 });
      await drained.close();
    });
  });
}
