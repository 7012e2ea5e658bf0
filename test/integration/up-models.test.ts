/** `sluice up` with several models behind one address. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { freePort } from '../ports.ts';
import { sandbox } from './up-process.ts';

const box = sandbox();
afterAll(() => box.close());

it('serves a model of another deployment through the router that names it', { timeout: 120_000 }, async () => {
  const port = await freePort();
  const deployment = (name: string, router: object) => ({
    apiVersion: 'serving.sluice.dev/v1alpha1',
    kind: 'ServingDeployment',
    metadata: { name },
    spec: { model: { name: `model-${name}` }, engine: { type: 'sim' }, decode: {}, router },
  });
  const file = join(box.folder, 'several.yaml');
  const documents = [deployment('door', { models: [{ name: 'model-far', url: `http://127.0.0.1:${port}` }] }), deployment('far', { port })];
  writeFileSync(file, documents.map((one) => JSON.stringify(one)).join('\n---\n'));
  const up = box.run(['up', '-f', file]);
  const [, url] = await up.line(/door is ready at (http:\/\/\S+)\/v1/);
  await up.line(/far is ready at/);
  const ask = async (model: string) => {
    const body = JSON.stringify({ model, prompt: 'a b c', max_tokens: 4 });
    const answer = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    return { status: answer.status, ...((await answer.json()) as { readonly model?: string }) };
  };
  expect(await ask('model-door')).toMatchObject({ status: 200, model: 'model-door' });
  expect(await ask('model-far')).toMatchObject({ status: 200, model: 'model-far' });
  expect(await ask('model-none')).toMatchObject({ status: 404 });
  up.kill('SIGINT');
  expect((await up.exit).code).toBe(0);
});
