/** `sluice rollout` as users run it, against a real API server with an operator. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from './bed.ts';
import { OperatorBed, SLOW_MS } from './operatorbed.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function sim(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { model: { name: 'simulated' }, engine: { type: 'sim' }, decode: { replicas: 1 }, ...change };
}
const WIDER = { engine: { type: 'sim', maxSequences: 8 } };

describe('sluice rollout', { timeout: 400_000 }, () => {
  let bed: OperatorBed;
  const folder = mkdtempSync(join(tmpdir(), 'sluice-rollout-'));
  beforeAll(async () => {
    bed = await OperatorBed.open(inject('kubeconfig'), 'rollout');
    await bed.operate();
  }, 120_000);
  afterAll(async () => {
    await bed?.close();
    rmSync(folder, { recursive: true });
  });

  function rollout(...words: readonly string[]): Promise<Ended> {
    const child = spawn(process.execPath, [MAIN, 'rollout', ...words, '--kubeconfig', bed.kubeconfig, '-n', bed.namespace]);
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
  }

  function manifest(name: string, spec: object): string {
    const path = join(folder, `${name}.yaml`);
    writeFileSync(path, JSON.stringify({ apiVersion: 'serving.sluice.dev/v1alpha1', kind: 'ServingDeployment', metadata: { name }, spec }));
    return path;
  }

  async function uids(name: string): Promise<string[]> {
    return (await bed.pods(name)).map(({ metadata }) => metadata.uid).sort();
  }

  async function spec(name: string) {
    return (await bed.deployment(name)).spec as { engine: { maxSequences: number }; decode: { replicas: number }; rollout: object };
  }

  it('tells what a manifest would restart, follows the roll, and goes back', async () => {
    await bed.put('chat', sim());
    await bed.settled('chat');
    const before = await bed.deployment('chat');

    const same = await rollout('diff', '-f', manifest('chat', sim()));
    expect([same.code, same.out, same.err]).toEqual([0, expect.stringContaining('no difference'), '']);
    const wider = await rollout('diff', '-f', manifest('chat', sim({ ...WIDER, decode: { replicas: 2 } })));
    expect(wider.code, wider.err).toBe(1);
    expect(wider.out).toMatch(/spec\.engine\.maxSequences +16 → 8/);
    expect(wider.out).toMatch(/mixed +1 instance replaced.*then 1 more {3}because of spec\.engine\.maxSequences/);
    expect(wider.out).toMatch(/router +stays as it is/);
    const wrong = await rollout('diff', '-f', manifest('chat', sim({ decode: { replicas: 99 } })));
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringMatching(/chat\.yaml:1:\d+: spec\.decode\.replicas/)]);
    expect(await bed.deployment('chat')).toMatchObject({ metadata: { resourceVersion: before.metadata.resourceVersion } });

    const first = await uids('chat');
    await bed.put('chat', sim(WIDER));
    const followed = await rollout('status', 'sd/chat', '--timeout', '3m');
    expect(followed, bed.log()).toMatchObject({ code: 0, out: expect.stringMatching(/chat: done\n$/) });
    expect((await uids('chat')).filter((uid) => first.includes(uid))).toHaveLength(1);

    await bed.put('chat', sim({ ...WIDER, decode: { replicas: 2 } }));
    const history = await rollout('history', 'chat');
    expect(history.out).toMatch(/REVISION +MADE.*\n +1 .*\n +2 .* \* +spec\.engine\.maxSequences\n$/);
    const dry = await rollout('undo', 'chat', '--dry-run');
    expect([dry.code, dry.out]).toEqual([0, expect.stringMatching(/would go back to revision 1[\s\S]*maxSequences +8 → 16/)]);
    expect((await spec('chat')).engine.maxSequences).toBe(8);
    const undone = await rollout('undo', 'chat');
    expect(undone, undone.err).toMatchObject({ code: 0, out: expect.stringContaining('goes back to revision 1') });
    expect(await spec('chat')).toMatchObject({ engine: { maxSequences: 16 }, decode: { replicas: 2 } });
    expect((await rollout('status', 'chat', '--timeout', '3m')).code).toBe(0);
    // And back again: an undo is a change like any other.
    expect((await rollout('undo', 'chat', '--to-revision', '2')).code).toBe(0);
    expect((await spec('chat')).engine.maxSequences).toBe(8);
    await bed.settled('chat');
  });

  it('holds edits back while it is paused, scales all the same, and takes them up together', async () => {
    await bed.put('held', sim());
    await bed.settled('held');
    const [pods, before] = [await bed.podNames('held'), await uids('held')];
    expect(await rollout('pause', 'held')).toMatchObject({ code: 0, out: expect.stringContaining('held is paused') });
    await bed.put('held', sim({ ...WIDER, model: { name: 'simulated', revision: 'other' }, decode: { replicas: 2 } }));
    await until(
      async () => (await bed.condition('held', 'Reconciling'))?.reason === 'Paused' && (await bed.podNames('held')).length > pods.length,
      () => bed.log(),
      SLOW_MS,
    );
    await until(
      async () => (await bed.condition('held', 'Ready'))?.status === 'True',
      () => bed.log(),
      SLOW_MS,
    );
    expect((await bed.condition('held', 'Reconciling'))?.message).toMatch(
      /changes that wait while spec\.rollout\.paused is true: spec\.engine\.maxSequences, spec\.model\.revision/,
    );
    expect(await uids('held')).toEqual(expect.arrayContaining(before));
    const revisions = new Set((await bed.pods('held', 'mixed')).map(({ metadata }) => metadata.labels?.['serving.sluice.dev/revision']));
    expect(revisions.size).toBe(1);
    expect(await bed.stream('held', 3)).toBe(3);

    expect(await rollout('status', 'held')).toMatchObject({ code: 1, out: expect.stringContaining('sluice rollout resume held') });
    expect(await rollout('undo', 'held')).toMatchObject({ code: 1, err: expect.stringContaining('held is paused') });
    expect(await rollout('pause', 'held')).toMatchObject({ code: 0, out: 'held is paused already\n' });
    expect(await rollout('resume', 'held')).toMatchObject({ code: 0 });
    expect((await spec('held')).rollout).toEqual({ paused: false, history: 10 });
    expect(await rollout('status', 'held', '--timeout', '3m')).toMatchObject({ code: 0 });
    expect((await uids('held')).filter((uid) => before.includes(uid))).toHaveLength(1);
    expect(await rollout('resume', 'held')).toMatchObject({ code: 0, out: 'held is not paused\n' });
  });

  it('keeps as many revisions as asked for', async () => {
    const target = (ms: number) => sim({ slo: { ttft: { p99: `${ms}ms` } }, rollout: { history: 2 } });
    const kept = async () => {
      const { out } = await rollout('history', 'short');
      return out
        .split('\n')
        .slice(1, -1)
        .map((line) => Number(line.trim().split(' ')[0]));
    };
    for (const ms of [100, 200, 300]) {
      await bed.put('short', target(ms));
      await bed.settled('short');
    }
    expect(await kept()).toEqual([2, 3]);
  });

  it('ends with what is in the way when a roll cannot end', async () => {
    const services = `/api/v1/namespaces/${bed.namespace}/services`;
    await bed.admin.demand('POST', services, { body: { metadata: { name: 'blocked' }, spec: { ports: [{ port: 1 }] } } });
    await bed.put('blocked', sim());
    expect(await rollout('status', 'blocked', '--timeout', '2m')).toMatchObject({
      code: 1,
      out: expect.stringMatching(/ObjectsRefused: Service blocked exists[\s\S]*sluice rollout undo blocked\n$/),
    });
    expect(await rollout('undo', 'blocked')).toMatchObject({ code: 1, err: expect.stringContaining('one revision only') });
    await bed.remove('blocked');
  });

  it('says what to do when it was asked for what is not there', async () => {
    expect(await rollout('status', 'chta')).toMatchObject({ code: 1, err: expect.stringContaining('did you mean chat?') });
    expect(await rollout('undo', 'chat', '--to-revision', '77')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/not kept; there is: /),
    });
    const limited = await bed.admin.serviceAccount(bed.namespace, 'nobody');
    const child = spawn(process.execPath, [MAIN, 'rollout', 'pause', 'chat', '--kubeconfig', limited, '-n', bed.namespace]);
    let err = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text;
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect([code, err]).toEqual([1, expect.stringMatching(/servingdeployments.*ask for it/)]);
  });
});
