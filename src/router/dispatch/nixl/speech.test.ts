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
  return new NixlSpeech({ request: parseRequest('completion', body, 'm'), id: 'r', salt: '', created: 1, seed: 9, deadlines, clock });
}

function prefillInstance(): Instance {
  const instance = new Instance({ id: 'p', incarnation: 'i', role: 'prefill', published: openEndpoint('http://127.0.0.1:1', clock) });
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

describe('NixlSpeech', () => {
  it('blames the prefill instance only while its hand-off is not over', () => {
    const one = speech({ stream: true });
    expect(one.suspect(null)).toBe('decode');
    expect(one.prefilled(prefillInstance(), { body: ANSWER, ageMs: 0 })).toMatchObject({ promptTokens: 3, reused: null, prefillMs: null });
    expect(one.suspect('Internal server error')).toBe('prefill');
    expect(one.suspect('EngineCore encountered an issue. See stack trace (above) for the root cause.')).toBe('dead');
    one.spoken();
    expect(one.suspect(null)).toBe('decode');
  });

  it('does not use a hand-off that is old', () => {
    expect(speech().prefilled(prefillInstance(), { body: ANSWER, ageMs: 20_001 })).toMatch(/20001 ms old/);
  });

  it('resumes what comes out the same again', () => {
    expect(speech({ temperature: 0 }).whyNotResumed()).toBeNull();
    expect(speech({ seed: 4 }).whyNotResumed()).toBeNull();
    expect(speech({ sluice: { resume: 'exact' } }).whyNotResumed()).toBeNull();
    expect(speech().whyNotResumed()).toMatch(/without a seed/);
  });
});
