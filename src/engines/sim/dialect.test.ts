import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../shared/index.ts';
import { createEngineServer, type EngineServer } from '../openai/index.ts';
import type { EngineCore } from '../port.ts';
import { INSTANT_COSTS } from './costs.ts';
import { vllmDialect } from './dialect.ts';
import { createSimEngine } from './engine.ts';

type Json = Record<string, unknown>;

/** As a vLLM router sends it to the prefill instance. */
const KEEP = {
  do_remote_decode: true,
  do_remote_prefill: false,
  remote_engine_id: null,
  remote_block_ids: null,
  remote_host: null,
  remote_port: null,
};
const PROMPT = Array.from({ length: 100 }, (_, index) => index + 1);

const parts: { core: EngineCore; server: EngineServer; url: string }[] = [];

beforeAll(async () => {
  for (const role of ['prefill', 'decode'] as const) {
    const core = await createSimEngine({ instance: role, role, modelName: 'tiny', clock: systemClock, costs: INSTANT_COSTS });
    const logger = { info: () => {}, warn: () => {}, error: () => {} };
    const server = createEngineServer({ core, logger, clock: systemClock, dialect: vllmDialect(core.info) });
    const { url } = await server.listen('127.0.0.1', 0);
    parts.push({ core, server, url });
  }
});

afterAll(async () => {
  for (const { core, server } of parts) {
    await core.close();
    await server.close();
  }
});

async function post(
  instance: number,
  body: Json,
): Promise<{ status: number; body: Json & { choices?: { text: string }[]; kv_transfer_params?: Json; error?: Json; usage?: Json } }> {
  const text = JSON.stringify({ model: 'tiny', prompt: PROMPT, temperature: 0, ...body });
  const response = await fetch(`${parts[instance]?.url}/v1/completions`, { method: 'POST', body: text });
  return { status: response.status, body: (await response.json()) as Json };
}

describe("vLLM's dialect", () => {
  it('hands off like NixlConnector: params out of the prefill leg, into the decode leg', async () => {
    const leg = await post(0, { max_tokens: 1, kv_transfer_params: KEEP });
    const params = leg.body.kv_transfer_params ?? {};
    expect(params).toEqual({
      do_remote_prefill: true,
      do_remote_decode: false,
      remote_block_ids: [[0, 1, 2, 3, 4, 5, 6]],
      remote_engine_id: parts[0]?.core.info.incarnation,
      remote_request_id: expect.any(String),
      remote_host: '127.0.0.1',
      remote_port: parts[0]?.core.info.transfer.port,
      tp_size: 1,
      dcp_size: 1,
      pp_size: 1,
      remote_num_tokens: 100,
      remote_blocks_expiry_time: null,
      transfer_mode: 'pull',
      remote_prefill_cached_tokens: 0,
    });
    const decoded = await post(1, { max_tokens: 20, kv_transfer_params: params });
    const alone = await post(0, { max_tokens: 20 });
    expect(decoded.body.choices?.[0]?.text).toBe(alone.body.choices?.[0]?.text);
    expect(decoded.body.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 96 } });
    expect(decoded.body.kv_transfer_params).toBeUndefined();
    expect(leg.body.choices?.[0]?.text).toBe(decoded.body.choices?.[0]?.text.slice(0, 4));
  });

  it('gives a streamed prefill leg no params and keeps nothing for it', async () => {
    const text = JSON.stringify({ model: 'tiny', prompt: PROMPT.slice(0, 50), max_tokens: 1, stream: true, kv_transfer_params: KEEP });
    const before = parts[0]?.core.load().leases;
    const response = await fetch(`${parts[0]?.url}/v1/completions`, { method: 'POST', body: text });
    expect(await response.text()).not.toContain('kv_transfer_params');
    expect(parts[0]?.core.load().leases).toBe(before);
  });

  it('keeps nothing of a prompt shorter than a block, and says so in params that can be handed on', async () => {
    const prompt = PROMPT.slice(0, 5);
    const { kv_transfer_params: params } = (await post(0, { prompt, max_tokens: 1, kv_transfer_params: KEEP })).body;
    expect((await post(1, { prompt, max_tokens: 1, kv_transfer_params: params })).status).toBe(200);
  });

  const TAKE = {
    do_remote_prefill: true,
    do_remote_decode: false,
    remote_block_ids: [[0, 1, 2, 3, 4, 5, 6]],
    remote_engine_id: 'e',
    remote_request_id: 'r',
    remote_host: '127.0.0.1',
    remote_port: 1,
  };

  it.each<[string, unknown]>([
    ['', 'yes'],
    ['', []],
    ['.do_remote_decode', { do_remote_decode: 1 }],
    ['.do_remote_prefill', { ...TAKE, do_remote_decode: true }],
    ['.remote_block_ids', { ...TAKE, remote_block_ids: [[1, 2]] }],
    ['.remote_block_ids', { ...TAKE, remote_block_ids: [] }],
    ['.remote_block_ids', { ...TAKE, remote_block_ids: [['a']] }],
    ['.remote_engine_id', { ...TAKE, remote_engine_id: null }],
    ['.remote_request_id', { ...TAKE, remote_request_id: undefined }],
    ['.remote_host', { ...TAKE, remote_host: 7 }],
    ['.remote_port', { ...TAKE, remote_port: 0 }],
  ])('refuses malformed kv_transfer_params%s', async (field, params) => {
    const { status, body } = await post(1, { kv_transfer_params: params });
    expect([status, body.error]).toMatchObject([400, { code: 'invalid_request', param: `kv_transfer_params${field}` }]);
  });

  it('takes params that ask for nothing', async () => {
    expect((await post(1, { max_tokens: 1, kv_transfer_params: {} })).status).toBe(200);
  });
});
