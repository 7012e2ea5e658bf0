import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { childrenOf, isAlive, type Sandbox, sandbox, until } from './up-process.ts';

let box: Sandbox;
beforeEach(() => {
  box = sandbox();
});
afterEach(() => box.close());

const count = expect.any(Number);
const REQUEST = {
  name: expect.any(String),
  requestId: expect.any(String),
  model: expect.any(String),
  decode: expect.stringMatching(/^(decode|mixed)-\d$/),
  why: expect.any(String),
  ttftMs: count,
  tokensPerSecond: count,
  promptTokens: count,
  outputTokens: count,
  reusedTokens: { hbm: count, host: count, peer: count, store: count },
  equalsSingleEngine: true,
};
const NAMES = ['cold prompt', 'same prefix again', 'second turn', 'long prompt', 'cancelled stream'];

const FIELDS =
  'name requestId model prefill decode why ttftMs tokensPerSecond promptTokens outputTokens reusedTokens handOff equalsSingleEngine finishReason';

interface Report {
  readonly readyMs: number;
  readonly requests: readonly {
    readonly name: string;
    readonly prefill: string | null;
    readonly promptTokens: number;
    readonly reusedTokens: { readonly hbm: number; readonly host: number };
    readonly handOff: { readonly blocks: number; readonly bytes: number; readonly ms: number } | null;
    readonly finishReason: string;
  }[];
}

function expectReport(stdout: string): Report {
  const report: unknown = JSON.parse(stdout);
  expect(report).toMatchObject({ ok: true, leftovers: { leases: 0, reservations: 0, processes: 0, files: 0 } });
  const { readyMs, requests } = report as Report;
  expect(Object.keys(report as object)).toEqual(['ok', 'readyMs', 'requests', 'leftovers']);
  expect(readyMs).toBeGreaterThan(0);
  for (const request of requests) {
    expect(request).toMatchObject(REQUEST);
    expect(Object.keys(request).join(' ')).toBe(FIELDS);
  }
  expect(requests.map((request) => request.name)).toEqual(NAMES);
  return { readyMs, requests };
}

const SIMULATED = `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: simulated}
spec:
  model: {name: simulated}
  engine: {type: sim, sim: {costs: {prefillPerToken: 0.2, stepFixed: 4, pullFixed: 1}}}
  prefill: {replicas: 1}
  decode: {replicas: 2}
`;

function simulated(): string {
  const file = join(box.folder, 'simulated.yaml');
  writeFileSync(file, SIMULATED);
  return file;
}

describe('sluice start', () => {
  it('--once --json prints one document and nothing else, with real engines, and leaves nothing', async () => {
    const sluice = box.run(['start', '--once', '--json']);
    expect(await sluice.exit, sluice.stderr()).toMatchObject({ code: 0 });
    const { requests } = expectReport(sluice.stdout());
    const [cold, again, , long, cancelled] = requests;
    expect(cold?.reusedTokens.hbm).toBe(0);
    expect(cold?.handOff?.blocks, JSON.stringify(cold)).toBeGreaterThan(10);
    expect((again?.reusedTokens.hbm ?? 0) + (again?.reusedTokens.host ?? 0)).toBeGreaterThan(100);
    expect(long?.promptTokens).toBeGreaterThan(3_500);
    expect(long?.promptTokens).toBeLessThan(4_800);
    expect(long?.handOff?.blocks).toBeGreaterThan(200);
    expect(cancelled?.finishReason).toBe('cancelled');
    expect(readdirSync(box.folder).filter((name) => name.startsWith('sluice-'))).toEqual([]);
  });

  it('--once shows people what happened, in plain text where nobody watches', async () => {
    const sluice = box.run(['start', '--once', '-f', simulated()]);
    expect(await sluice.exit, sluice.stderr()).toMatchObject({ code: 0 });
    const text = sluice.stdout();
    for (const name of NAMES) expect(text).toMatch(new RegExp(`^  ${name} .*✓ same$`, 'm'));
    expect(text).toContain('simulated engines, no model is run');
    expect(text).toMatch(/^✓ 5 requests, every text equal to that of one engine alone/m);
    expect(text).not.toContain('\u001b');
    expect(sluice.stderr()).toBe('');
  });

  it('serves on after the conversation, tells what to do next, and ends on SIGINT', async () => {
    const sluice = box.run(['start', '-f', simulated()]);
    const [, url] = await sluice.line(/Serving at (http:\S+)\/v1/);
    await sluice.line(/npx sluice explain simulated-5/);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    expect(childrenOf(sluice.pid)).toHaveLength(4);
    const children = childrenOf(sluice.pid);
    sluice.kill('SIGINT');
    expect(await sluice.exit).toEqual({ code: 0, signal: null });
    expect(children.filter(isAlive)).toEqual([]);
  });

  it('ends everything when it is interrupted while it starts', async () => {
    const sluice = box.run(['start', '-f', simulated()]);
    await until(() => childrenOf(sluice.pid).length >= 3);
    const children = childrenOf(sluice.pid);
    sluice.kill('SIGTERM');
    expect((await sluice.exit).code).toBe(130);
    expect(children.filter(isAlive)).toEqual([]);
    expect(box.runStates()).toEqual([]);
  });

  it('refuses what it cannot start', async () => {
    const two = join(box.folder, 'two.yaml');
    writeFileSync(two, `${SIMULATED}---\n${SIMULATED.replace('name: simulated', 'name: other')}`);
    const several = box.run(['start', '--once', '--json', '-f', two]);
    expect((await several.exit).code).toBe(1);
    expect(several.stderr()).toContain('one ServingDeployment is expected');
    expect(several.stdout()).toBe('');
    const flag = box.run(['start', '--onse']);
    expect((await flag.exit).code).toBe(2);
    expect(flag.stderr()).toContain('did you mean --once?');
  });
});
