import { expect, it, vi } from 'vitest';
import { tellKv } from './kvtelling.ts';

it('says why it cannot tell, and not that it was stopped', async () => {
  const said: string[] = [];
  const logger = {
    info: (_fields: object, message: string) => said.push(message),
    warn: (fields: object) => said.push(JSON.stringify(fields)),
  };
  const nats = { urls: ['nats://127.0.0.1:1'], prefix: 'sluice', maxBytes: 2 ** 26, maxAgeMs: 600_000, replicas: 1 };
  const source = {
    snapshot: () => ({ incarnation: '1', seq: 0, tiers: {} }),
    onEvent: () => () => undefined,
    load: () => null,
  };
  const info = { instance: 'a', incarnation: '1', bytesPerBlock: 1 };
  const telling = await tellKv({ space: 'a', redis: null, nats }, { info, source }, { env: {}, logger });
  await vi.waitFor(() => expect(said).toHaveLength(1), { timeout: 10_000 });
  await telling.stop();
  expect(said).toEqual([expect.stringMatching(/"server":"nats","why":"NATS at nats:\/\/127\.0\.0\.1:1: .*REFUSED/)]);
});
