import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blockKeys, chainSeed, type KvBlock, type KvEvent, keyHexes, kvBlock, pull, TransferServer } from '../../kv/index.ts';
import { type SluiceError, systemClock } from '../../shared/index.ts';
import type { EngineCore } from '../port.ts';
import { silentPeer } from '../slow.fixture.ts';
import { type Answer, BLOCK_BYTES, GREEDY, generate, prefill, randomTokens, request, SEEDED, TinyEngines } from './tinyengines.fixture.ts';

const engines = new TinyEngines();
let alone: EngineCore;
let prefiller: EngineCore;
let decoder: EngineCore;

beforeAll(async () => {
  [alone, prefiller, decoder] = await Promise.all([
    engines.open('alone'),
    engines.open('p', { role: 'prefill' }),
    engines.open('d', { role: 'decode' }),
  ]);
}, 120_000);
afterAll(() => engines.closeAll());

describe('one instance', () => {
  it('says the same when asked again, reusing what it has', async () => {
    const prompt = randomTokens(100, 1);
    const first = await generate(alone, request(prompt));
    const again = await generate(alone, request(prompt));
    expect(first.report.reused.hbm).toBe(0);
    expect(again.report.reused.hbm).toBe(96);
    expect(again.report.computed).toBe(4);
    expect(again.tokens).toEqual(first.tokens);
    expect(first.reason).toBe('length');
  });

  it('goes on at any token with the same tokens', async () => {
    const prompt = randomTokens(75, 2);
    for (const sampling of [GREEDY, SEEDED]) {
      const whole = await generate(alone, request(prompt, { sampling }));
      for (const at of [1, 5, 16, 23]) {
        const rest = await generate(decoder, request(prompt, { sampling, resumed: Int32Array.from(whole.tokens.slice(0, at)) }));
        expect(rest.tokens).toEqual(whole.tokens.slice(at));
      }
    }
  });

  it('batches 20 requests on 16 sequences; each says what it would say alone', async () => {
    const asks = Array.from({ length: 20 }, (_, i) => request(randomTokens(20 + 17 * i, 100 + i), { sampling: { ...SEEDED, seed: i } }));
    const together = await Promise.all(asks.map((ask) => generate(decoder, ask)));
    for (const [i, ask] of asks.entries()) expect((await generate(alone, ask)).tokens).toEqual(together[i]?.tokens);
  });

  it('keeps tenants apart', async () => {
    const prompt = randomTokens(64, 3);
    await generate(alone, request(prompt, { salt: 'a' }));
    expect((await generate(alone, request(prompt, { salt: 'b' }))).report.reused.hbm).toBe(0);
    expect((await generate(alone, request(prompt, { salt: 'a' }))).report.reused.hbm).toBe(48);
  });

  it('frees a cancelled request and ends it once', async () => {
    const { reason, tokens } = await generate(
      alone,
      request(randomTokens(40, 4), { sampling: { ...GREEDY, maxTokens: 1500 } }),
      (said, running) => {
        if (said.length === 3) running.cancel();
      },
    );
    expect(reason).toBe('cancelled');
    expect(tokens.length).toBeLessThan(10);
    expect(alone.load()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('ends at the context and refuses what does not fit', async () => {
    const full = await generate(alone, request(randomTokens(2040, 5), { sampling: { ...GREEDY, maxTokens: 100 } }));
    expect(full.reason).toBe('length');
    expect(full.tokens).toHaveLength(8);
    await expect(generate(alone, request(randomTokens(2048, 5)))).rejects.toMatchObject({
      code: 'context_length_exceeded',
    } satisfies Partial<SluiceError>);
    await expect(generate(alone, request(new Int32Array(0)))).rejects.toMatchObject({ code: 'invalid_request' });
  });
});

describe('tiers', () => {
  it('moves evicted blocks to host memory and takes them back, with the same tokens', async () => {
    const small = await engines.open('small', { maxSequences: 2 });
    const held = new Map<string, Set<string>>();
    small.onEvent(({ event }) => apply(held, event));
    const prompts = Array.from({ length: 6 }, (_, i) => randomTokens(400, 200 + i));
    const first = [];
    for (const prompt of prompts) first.push(await generate(small, request(prompt)));
    const back = await generate(small, request(prompts[0] as Int32Array));
    expect(back.report.reused.host).toBe(384);
    expect(back.tokens).toEqual(first[0]?.tokens);
    const { tiers } = small.snapshot();
    expect(held.get('hbm')).toEqual(new Set(tiers.hbm));
    expect(held.get('host')).toEqual(new Set(tiers.host));
    expect(small.load().kv.host.cachedBytes).toBe((tiers.host?.length ?? 0) * BLOCK_BYTES);
    await small.close();
  });

  it('never holds more in HBM than its budget, and still serves', async () => {
    const budget = 2048 * 1024;
    const tight = await engines.open('tight', { hbmBytes: budget, maxSequences: 8 });
    const asks = Array.from({ length: 12 }, (_, i) => request(randomTokens(300, 300 + i)));
    const peak = { bytes: 0 };
    const results = await Promise.all(
      asks.map((ask) =>
        generate(tight, ask, () => {
          const blocks = tight.snapshot().tiers.hbm?.length ?? 0;
          peak.bytes = Math.max(peak.bytes, blocks * BLOCK_BYTES, tight.load().kv.hbm.usedBytes);
        }),
      ),
    );
    expect(results.map((result) => result.reason)).toEqual(asks.map(() => 'length'));
    expect(peak.bytes).toBeGreaterThan(0);
    expect(peak.bytes).toBeLessThanOrEqual(budget);
    await tight.close();
    await expect(engines.open('none', { hbmBytes: 1000 })).rejects.toMatchObject({ param: 'kv.hbm.capacity' });
  });
});

describe('hand-off', () => {
  it.each([
    ['short of a block', 9],
    ['exactly one block', 16],
    ['whole blocks', 160],
    ['with an unfinished tail', 773],
  ])('gives the tokens of one engine alone: %s', async (_, length) => {
    for (const sampling of [GREEDY, SEEDED]) {
      const prompt = randomTokens(length, 400 + length + sampling.seed);
      const { ticket, report } = await prefill(prefiller, request(prompt, { sampling }));
      expect(ticket.blocks).toBe(Math.floor(length / 16));
      expect(report.promptTokens).toBe(length);
      const result = await generate(decoder, request(prompt, { sampling, ticket }));
      expect(result.tokens).toEqual((await generate(alone, request(prompt, { sampling }))).tokens);
      const expected = Math.floor((length - 1) / 16);
      expect(result.report.reused.peer).toBe(expected * 16);
      if (expected > 0) expect(result.report.handOff).toMatchObject({ blocks: expected, bytes: expected * BLOCK_BYTES, failed: null });
      // Where nothing was lacking, nobody waited for the prefill instance to hear so.
      await expect.poll(() => prefiller.load().leases).toBe(0);
    }
  });

  it('does not wait for a peer that hangs when it has all blocks', async () => {
    const prompt = randomTokens(100, 505);
    const first = await generate(decoder, request(prompt));
    const peer = await silentPeer();
    const { tokens, report } = await generate(decoder, request(prompt, { ticket: peer.ticket(6), pullDeadlineMs: 600_000 }));
    await expect.poll(() => peer.asked()).toBe(1);
    peer.close();
    expect(tokens).toEqual(first.tokens);
    expect(report.handOff).toBeNull();
  });

  it('pulls only what the decode instance lacks', async () => {
    const prompt = randomTokens(320, 500);
    const first = await prefill(prefiller, request(prompt));
    await generate(decoder, request(prompt, { ticket: first.ticket }));
    const longer = Int32Array.from([...prompt, ...randomTokens(64, 501)]);
    const second = await prefill(prefiller, request(longer));
    expect(second.report.reused.hbm).toBe(320);
    const result = await generate(decoder, request(longer, { ticket: second.ticket }));
    expect(result.report.reused).toMatchObject({ hbm: 320, peer: 48 });
    expect(result.report.handOff?.blocks).toBe(3);
    expect(result.tokens).toEqual((await generate(alone, request(longer))).tokens);
  });

  it('recomputes when the lease is over, the peer is gone, or host memory was full', async () => {
    const prompt = randomTokens(200, 510);
    const expected = (await generate(alone, request(prompt))).tokens;
    const { ticket } = await prefill(prefiller, request(prompt));
    prefiller.releaseLease(ticket.lease);
    const late = await generate(decoder, request(prompt, { ticket: { ...ticket, lease: 'gone' } }));
    expect(late.tokens).toEqual(expected);

    const other = randomTokens(200, 511);
    const gone = await generate(decoder, request(other, { ticket: { ...ticket, port: 1 }, pullDeadlineMs: 300 }));
    expect(gone.report.handOff?.failed).toBeTruthy();
    expect(gone.report.reused.peer).toBe(0);
    expect(gone.tokens).toEqual((await generate(alone, request(other))).tokens);

    const cramped = await engines.open('cramped', { role: 'prefill', hostBytes: 4 * BLOCK_BYTES });
    const partial = await prefill(cramped, request(other));
    expect(partial.ticket.blocks).toBe(4);
    expect(partial.report.handOff?.failed).toContain('8 blocks found no room');
    await cramped.close();
  });

  it('shows a wrong block under a right key in its output (so that equality is a real test)', async () => {
    const prompt = randomTokens(160, 520);
    const right = await honestBlocks(prompt);
    const wrong = right.map((block, i) => (i === 3 ? kvBlock(block.key, block.parent, block.tokens, (right[5] as KvBlock).bytes) : block));
    const expected = (await generate(alone, request(prompt))).tokens;
    expect((await resultFrom(right, prompt, decoder)).tokens).toEqual(expected);
    // It believes them from now on.
    const deceived = await engines.open('deceived', { role: 'decode', maxSequences: 2 });
    expect((await resultFrom(wrong, prompt, deceived)).tokens).not.toEqual(expected);
    await deceived.close();
  });

  it('notices a flipped bit in any block and recomputes from there', async () => {
    for (const bad of [0, 4, 8]) {
      const prompt = randomTokens(160, 530 + bad);
      const right = await honestBlocks(prompt);
      const flipped = right.map((block, i) => (i === bad ? { ...block, bytes: flipBit(block.bytes, 999 * (bad + 1)) } : block));
      const { report, tokens } = await resultFrom(flipped, prompt, decoder);
      expect(report.handOff?.failed).toBeTruthy();
      expect(report.reused.peer).toBe(bad * 16);
      expect(tokens).toEqual((await generate(alone, request(prompt))).tokens);
    }
  });

  /** The blocks of a prompt as a prefill instance has them, read back through its own transfer server. */
  async function honestBlocks(prompt: Int32Array): Promise<KvBlock[]> {
    const { ticket } = await prefill(prefiller, request(prompt));
    const keys = keyHexes(blockKeys(chainSeed(prefiller.info.identity, ''), prompt, 16));
    const blocks: KvBlock[] = [];
    await pull({
      ...ticket,
      keys,
      tokens: prompt,
      blockTokens: 16,
      bytesPerBlock: BLOCK_BYTES,
      deadlineMs: 5_000,
      clock: systemClock,
      onBlock: (i, block) => blocks.push(kvBlock(block.key, keys[i - 1] ?? null, block.tokens.slice(), new Uint8Array(block.bytes))),
    });
    expect(blocks).toHaveLength(10);
    return blocks;
  }

  async function resultFrom(blocks: readonly KvBlock[], prompt: Int32Array, target: EngineCore): Promise<Answer> {
    const server = new TransferServer({
      source: { block: (key) => blocks.find((block) => block.key === key) ?? null },
      leases: { renew: () => true, release: () => undefined },
      clock: systemClock,
      bytesPerSecondPerPeer: null,
    });
    const address = await server.listen({ host: '127.0.0.1', port: 0 });
    const ticket = { instance: 'forged', incarnation: 'x', ...address, lease: 'l', blocks: blocks.length, bytes: 0, leaseMs: 1000 };
    const result = await generate(target, request(prompt, { ticket }));
    await server.close();
    return result;
  }
});

it('drains: running requests and leases first, nothing new', async () => {
  const leaving = await engines.open('leaving', { role: 'prefill', leaseMs: 150 });
  const { ticket } = await prefill(leaving, request(randomTokens(64, 600)));
  expect(ticket.blocks).toBe(4);
  const running = generate(leaving, request(randomTokens(64, 601)));
  const drained = leaving.drain();
  await expect(generate(leaving, request(randomTokens(8, 602)))).rejects.toMatchObject({ code: 'unavailable' });
  expect((await running).reason).toBe('length');
  await drained;
  expect(leaving.load()).toMatchObject({ running: 0, waiting: 0, leases: 0, draining: true });
  expect(leaving.counters().leasesExpired).toBe(1);
  await leaving.close();
});

it('ends a request whose KV is still on its way when it is closed', async () => {
  const leaving = await engines.open('closed', { role: 'decode', maxSequences: 2 });
  const peer = await silentPeer();
  const asked = generate(leaving, request(randomTokens(100, 610), { ticket: peer.ticket(6), pullDeadlineMs: 600_000 }));
  await expect.poll(() => peer.asked()).toBe(1);
  await leaving.close();
  expect((await asked).reason).toBe('cancelled');
  peer.close();
});

function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  const at = (bit >> 3) % copy.length;
  copy[at] = (copy[at] as number) ^ (1 << (bit & 7));
  return copy;
}

function apply(held: Map<string, Set<string>>, event: KvEvent): void {
  if (event.type === 'cleared') return held.clear();
  const keys = held.get(event.tier) ?? new Set();
  held.set(event.tier, keys);
  for (const key of event.keys) {
    if (event.type === 'stored') keys.add(key);
    else keys.delete(key);
  }
}
