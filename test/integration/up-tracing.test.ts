/** `sluice up` with `router.tracing`: from the file to the collector. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Receiver } from '../../src/telemetry/traces/receiver.fixture.ts';
import { type Sandbox, sandbox } from './up-process.ts';

let box: Sandbox;
let receiver: Receiver;

beforeEach(() => {
  box = sandbox();
  receiver = new Receiver();
});
afterEach(async () => {
  await box.close();
  await receiver.close();
});

function write(tracing: string): string {
  const file = join(box.folder, 'deployment.yaml');
  writeFileSync(
    file,
    `apiVersion: serving.sluice.dev/v1alpha1
kind: ServingDeployment
metadata: {name: chat}
spec:
  model: {name: simulated}
  engine: {type: sim}
  prefill: {replicas: 1}
  decode: {replicas: 1}
  router:
    tracing: ${tracing}
`,
  );
  return file;
}

it('sends the spans of a request, also the last one before the end', async () => {
  const endpoint = await receiver.listen();
  const sluice = box.run(['up', '-f', write(`{ endpoint: "${endpoint}", sampleRatio: 1 }`)]);
  const [, url] = await sluice.line(/is ready at (http:\/\/\S+)\/v1/);
  const body = JSON.stringify({ model: 'simulated', prompt: 'hello '.repeat(40), max_tokens: 3 });
  const answer = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  expect(answer.status).toBe(200);
  await answer.text();
  // Before the second is over for which spans wait for others.
  sluice.kill('SIGTERM');
  expect(await sluice.exit).toEqual({ code: 0, signal: null });
  const [request] = receiver.spans.filter(({ kind }) => kind === 'server');
  expect(request).toMatchObject({
    name: 'text_completion simulated',
    resource: { 'service.name': 'chat-router', 'service.namespace': 'default' },
    attributes: { 'sluice.request.id': answer.headers.get('x-request-id') },
  });
  expect(receiver.faults).toEqual([]);
});

it('says which value is wrong and what to write', async () => {
  const sluice = box.run(['up', '-f', write('{ endpoint: "https://otel-collector:4318/v1/traces", sampleRatio: 10 }')]);
  expect((await sluice.exit).code).not.toBe(0);
  const said = sluice.stderr() + sluice.stdout();
  expect(said).toContain('spec.router.tracing.endpoint');
  expect(said).toContain('such as http://otel-collector:4318, with its port and without a path');
  expect(said).toContain('spec.router.tracing.sampleRatio');
  expect(said).toContain('a number from 0 to 1');
});
