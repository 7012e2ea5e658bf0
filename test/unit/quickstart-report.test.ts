import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../scripts/quickstart-report.mjs', import.meta.url));

const request = {
  name: 'cold prompt',
  requestId: 'r1',
  model: 'tiny',
  prefill: 'prefill-1',
  decode: 'decode-1',
  why: 'least wait',
  ttftMs: 12.5,
  tokensPerSecond: 300,
  promptTokens: 200,
  outputTokens: 32,
  reusedTokens: { hbm: 0, host: 0, peer: 192, store: 0 },
  handOff: { blocks: 12, bytes: 196_608, ms: 1.5 },
  equalsSingleEngine: true,
  finishReason: 'length',
};
const report = {
  ok: true,
  readyMs: 3_000,
  requests: Array.from({ length: 5 }, () => request),
  leftovers: { leases: 0, reservations: 0, processes: 0, files: 0 },
};

function judge(input: unknown) {
  const text = typeof input === 'string' ? input : JSON.stringify(input);
  const { status, stderr } = spawnSync(process.execPath, [SCRIPT], { input: text, encoding: 'utf8' });
  return { status, stderr };
}

describe('the check of a quickstart report', () => {
  it('passes a sound one', () => expect(judge(report)).toEqual({ status: 0, stderr: '' }));

  it.each([
    ['noise on standard output', `starting…\n${JSON.stringify(report)}`, 'not one JSON document'],
    ['nothing', '', 'not one JSON document'],
    ['a run that failed', { ...report, ok: false }, 'ok is false'],
    ['a missing field', { ...report, readyMs: undefined }, 'report.readyMs is missing'],
    ['an unknown field', { ...report, extra: 1 }, 'report.extra is not in the agreed shape'],
    ['a wrong type', { ...report, requests: [{ ...request, promptTokens: '5' }, ...report.requests] }, 'requests[0].promptTokens is "5"'],
    [
      'a different text',
      { ...report, requests: [{ ...request, equalsSingleEngine: false }, ...report.requests] },
      'differs from a single engine',
    ],
    ['no hand-off at all', { ...report, requests: report.requests.map((one) => ({ ...one, handOff: null })) }, 'no request handed KV over'],
    ['a lease left over', { ...report, leftovers: { ...report.leftovers, leases: 2 } }, '2 leases left over'],
  ])('refuses %s', (_what, input, message) => {
    const { status, stderr } = judge(input);
    expect(status).toBe(1);
    expect(stderr).toContain(message);
  });
});
