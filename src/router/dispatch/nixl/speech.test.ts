import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { parseRequest } from '../../edge/index.ts';
import { openEndpoint } from '../../instances/endpoint.ts';
import { Instance } from '../../instances/instance.ts';
import { NixlSpeech } from './speech.ts';

const clock = new FakeClock();
const deadlines = { prefillMs: 1, pullMs: 1, firstTokenMs: 1, idleMs: 1, totalMs: 1 };

function speech(fields: object = {}) {
  const body = Buffer.from(JSON.stringify({ model: 'm', prompt: 'p', ...fields }));
  const request = parseRequest('completion', body, 'm');
  return new NixlSpeech({
    request,
    id: 'r',
    salt: '',
    created: 1,
    seed: 9,
    deadlines,
    clock,
    trace: () => '',
    session: 's',
    newRoom: () => 0,
  });
}

function prefillInstance(leaseMs: number | null = 30_000): Instance {
  const published = openEndpoint('http://127.0.0.1:1', clock);
  const instance = new Instance({ id: 'p', incarnation: 'i', role: 'prefill', published, now: 0 });
  const identity = { model: '', revision: '', tokenizer: '', rope: '', adapter: '', dtype: '', layout: '', blockTokens: 32 };
  instance.info = {
    instance: 'p',
    incarnation: 'i',
    role: 'prefill',
    engine: 'vllm',
    dialect: 'nixl',
    requestUrl: null,
    simulated: false,
    model: 'm',
    contextTokens: 4096,
    maxSequences: 1,
    identity,
    bytesPerBlock: 1,
    tokenizer: { kind: 'bytes4' },
    transfer: { host: '', port: 1 },
    leaseMs,
  };
  return instance;
}

const PARAMS = {
  do_remote_prefill: true,
  remote_block_ids: [[1]],
  remote_engine_id: 'e',
  remote_request_id: 'r',
  remote_host: 'h',
  remote_port: 1,
};
const ANSWER = Buffer.from(JSON.stringify({ kv_transfer_params: PARAMS, usage: { prompt_tokens: 3 } }));

function handOver(one: NixlSpeech, ageMs: number, leaseMs: number | null = 30_000) {
  const instance = prefillInstance(leaseMs);
  one.prefill(instance);
  return one.prefilled(instance, { body: ANSWER, ageMs });
}

describe('NixlSpeech', () => {
  it('blames the prefill instance only while its hand-off is not over', () => {
    const one = speech({ stream: true });
    expect(one.suspect(null)).toBe('decode');
    expect(handOver(one, 0)).toMatchObject({ promptTokens: 3, reused: null, prefillMs: null });
    expect(one.suspect('Internal server error')).toBe('prefill');
    expect(one.suspect('EngineCore encountered an issue. See stack trace (above) for the root cause.')).toBe('dead');
    one.spoken();
    expect(one.suspect(null)).toBe('decode');
  });

  it.each<[number | null, number]>([
    [30_000, 20_000],
    [6_000, 4_000],
    [1_000, 500],
    [120_000, 80_000],
    // An instance that does not tell: the shortest lease there is.
    [null, 500],
  ])('uses a hand-off of a lease of %s ms for %s ms', (leaseMs, usableMs) => {
    expect(handOver(speech(), usableMs, leaseMs)).toMatchObject({ promptTokens: 3 });
    expect(handOver(speech(), usableMs + 1, leaseMs)).toEqual({
      why: `its hand-off is ${usableMs + 1} ms old, and usable for ${usableMs} ms`,
      innocent: true,
    });
  });

  it('wants the decode instance to live before the lease is over, while there is a hand-off', () => {
    const one = speech();
    expect(one.acceptMs()).toBe(Number.POSITIVE_INFINITY);
    handOver(one, 2_000, 30_000);
    expect(one.acceptMs()).toBe(23_000);
    one.spoken();
    expect(one.acceptMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('knows the lease of an instance whose feed was lost meanwhile', () => {
    const one = speech();
    const instance = prefillInstance(6_000);
    one.prefill(instance);
    instance.info = null;
    expect(one.prefilled(instance, { body: ANSWER, ageMs: 3_999 })).toMatchObject({ promptTokens: 3 });
  });

  it('resumes what comes out the same again', () => {
    expect(speech({ temperature: 0 }).whyNotResumed()).toBeNull();
    expect(speech({ seed: 4 }).whyNotResumed()).toBeNull();
    expect(speech({ sluice: { resume: 'exact' } }).whyNotResumed()).toBeNull();
    expect(speech().whyNotResumed()).toMatch(/without a seed/);
  });
});
