import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { VERBS } from './rollout/help.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sluice-rollout-'));
afterAll(() => rmSync(folder, { recursive: true }));

function rollout(...words: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  // No cluster is here: what asks for one must say so.
  const env = { ...process.env, KUBECONFIG: join(folder, 'no-such-kubeconfig'), HOME: folder };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, 'rollout', ...words], { env }, (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    );
  });
}

function file(name: string, change: Readonly<Record<string, unknown>> = {}): string {
  const path = join(folder, name);
  const spec = { model: { name: 'm' }, engine: { type: 'sim' }, decode: { replicas: 2 }, ...change };
  writeFileSync(
    path,
    JSON.stringify({ apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', metadata: { name: 'chat' }, spec }),
  );
  return path;
}

describe('sluice rollout', () => {
  it('teaches: an overview, a text for each command, and what to write instead of a mistake', async () => {
    const help = await rollout('--help');
    expect([help.code, help.err]).toEqual([0, '']);
    for (const verb of Object.keys(VERBS)) {
      expect(help.out).toContain(`  ${verb}`);
      const text = await rollout(verb, '--help');
      expect([text.code, text.out]).toEqual([0, expect.stringContaining(`Usage: sluice rollout ${verb}`)]);
    }
    expect(await rollout()).toMatchObject({ code: 2, err: help.out });
    expect(await rollout('udno', 'chat')).toMatchObject({ code: 2, err: expect.stringContaining('Did you mean: sluice rollout undo') });
    expect(await rollout('pause')).toMatchObject({ code: 2, err: expect.stringContaining('sluice rollout pause NAME') });
    expect(await rollout('pause', 'chat', '--dry-run')).toMatchObject({
      code: 2,
      err: expect.stringContaining('belongs to sluice rollout undo'),
    });
    expect(await rollout('undo', 'chat', '--to-revision=0')).toMatchObject({ code: 2, err: expect.stringContaining('got "0"') });
    expect(await rollout('status', 'chat', '--timeout=5')).toMatchObject({ code: 2, err: expect.stringContaining('90s or 10m') });
    expect(await rollout('diff')).toMatchObject({ code: 2, err: expect.stringContaining('-f FILE') });
    expect(await rollout('status', 'chat')).toMatchObject({ code: 1, err: expect.stringContaining('Name a kubeconfig') });
  }, 120_000);

  it('compares two files without a cluster, as sluice up would see the edit', async () => {
    const [before, after] = [file('before.yaml'), file('after.yaml', { kv: { lease: '20s' }, decode: { replicas: 3 } })];
    expect(await rollout('diff', '-f', before, '--from', before)).toMatchObject({ code: 0, out: 'chat: no difference\n' });
    const found = await rollout('diff', '-f', after, '--from', before);
    expect(found.code, found.err).toBe(1);
    expect(found.out).toMatch(/spec\.kv\.lease +"30s" → "20s"/);
    expect(found.out).toMatch(/mixed +2 instances replaced.*then 1 more {3}because of spec\.kv\.lease/);
    const tiered = (budget: string) => {
      const text = readFileSync(file('user.yaml', { kv: { tierRef: { name: 'shared' } } }), 'utf8');
      const tier = { apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'KVTier', metadata: { name: 'shared' } };
      const path = join(folder, `${budget}.yaml`);
      writeFileSync(path, `${JSON.stringify({ ...tier, spec: { redis: { urls: ['redis://r'], budget } } })}\n---\n${text}`);
      return path;
    };
    expect(await rollout('diff', '-f', tiered('5ms'), '--from', tiered('5ms'))).toMatchObject({ code: 0, out: 'chat: no difference\n' });
    const edited = await rollout('diff', '-f', tiered('9ms'), '--from', tiered('5ms'));
    expect(edited.out, edited.err).toMatch(
      /KVTier shared spec\.redis\.budget +"5ms" → "9ms"[\s\S]*mixed +2 instances replaced.*because of KVTier shared/,
    );
    const wrong = file('wrong.yaml', { decode: { replicas: 'x' } });
    expect(await rollout('diff', '-f', wrong, '--from', before)).toMatchObject({ code: 2, err: expect.stringContaining('wrong.yaml:1:') });
  }, 60_000);
});
