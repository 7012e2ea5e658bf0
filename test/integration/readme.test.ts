/** Commands of the documents that need no cluster, as they stand there, with the file of the README. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { ROOT } from '../documents/commands.ts';
import { runDocumented } from '../documents/shell.ts';
import { sandbox } from './up-process.ts';

const box = sandbox();
afterAll(() => box.close());
const shell = { folder: box.folder, env: { XDG_RUNTIME_DIR: box.folder, TMPDIR: box.folder, TERM: 'dumb' } };

it('the README’s file runs, answers, and is explained', { timeout: 180_000 }, async () => {
  const [, yaml = ''] = /^```yaml\n([\s\S]*?)^```/m.exec(readFileSync(`${ROOT}README.md`, 'utf8')) ?? [];
  writeFileSync(join(box.folder, 'chat.yaml'), yaml);
  const up = runDocumented('npx sluice up -f chat.yaml', shell);
  const state = (): { readonly url: string; readonly pid: number } | null => {
    const [file] = box.runStates();
    return file === undefined ? null : JSON.parse(readFileSync(join(box.folder, 'sluice', file), 'utf8'));
  };
  try {
    const isReady = async () => (await fetch(`${state()?.url}/readyz`)).ok;
    await expect.poll(() => isReady().catch(() => false), { timeout: 90_000 }).toBe(true);
    const url = state()?.url ?? '';
    const curl = `curl http://127.0.0.1:PORT/v1/chat/completions -H 'content-type: application/json' -d '{"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "stream": true}'`;
    const answer = await runDocumented(curl, shell, { names: { PORT: new URL(url).port } });
    expect(answer.out, answer.err).toMatch(/data: \[DONE\]\s*$/);
    const id = /^x-request-id: (\S+)/im.exec(readFileSync(join(box.folder, 'head'), 'utf8'))?.[1] ?? '';
    const explained = await runDocumented('npx sluice explain REQUEST_ID', shell, { names: { REQUEST_ID: id } });
    expect(explained.out, explained.err).toMatch(/outcome {2}ok, HTTP 200/);
    const byAddress = await runDocumented('sluice explain REQUEST_ID --router URL', shell, { names: { REQUEST_ID: id, URL: url } });
    expect(byAddress.out, byAddress.err).toBe(explained.out);
    const top = await runDocumented('npx sluice top', shell);
    expect(top.out, top.err).toMatch(/decode-0 +decode +ready/);
    const tiers = await runDocumented('npx sluice kv stat', shell);
    expect([tiers.code, tiers.out], tiers.err).toEqual([0, expect.stringContaining('decode-0')]);
  } finally {
    const pid = state()?.pid;
    if (pid !== undefined) process.kill(pid, 'SIGINT');
    await up;
  }
});

it('what engines and router write is shown when asked for', { timeout: 90_000 }, async () => {
  const said = await runDocumented('sluice up -f FILE --verbose', shell, {
    names: { FILE: `${ROOT}manifests/samples/simulated.yaml` },
    until: /^(?:prefill|decode)-\d: /m,
  });
  expect(said.err).toMatch(/^(?:prefill|decode)-\d: /m);
});

it('an edit is compared without a cluster', { timeout: 60_000 }, async () => {
  const file = (contextTokens: number) =>
    `apiVersion: serving.sluice.dev/v1alpha1\nkind: ServingDeployment\nmetadata: { name: chat }\nspec: { model: { name: m }, engine: { type: sim, contextTokens: ${contextTokens} }, decode: {} }\n`;
  writeFileSync(join(box.folder, 'old.yaml'), file(1_024));
  writeFileSync(join(box.folder, 'new.yaml'), file(2_048));
  const found = await runDocumented('sluice rollout diff -f new.yaml --from old.yaml', shell);
  expect([found.code, found.out]).toEqual([1, expect.stringContaining('because of spec.engine.contextTokens')]);
  expect(await runDocumented('sluice operator --help', shell)).toMatchObject({ code: 0, out: expect.stringContaining('--operators-from') });
});
