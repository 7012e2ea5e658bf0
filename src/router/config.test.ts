import { describe, expect, it } from 'vitest';
import { DEFAULT_CONFIG, parseConfig } from './config.ts';

describe('parseConfig', () => {
  it('keeps defaults for what is left out', () => {
    expect(parseConfig('{}')).toEqual(DEFAULT_CONFIG);
    expect(parseConfig('{"limits":{"queue":0},"deadlines":{"idleMs":5},"saltHeader":"X-Tenant-Id"}')).toEqual({
      limits: { ...DEFAULT_CONFIG.limits, queue: 0 },
      deadlines: { ...DEFAULT_CONFIG.deadlines, idleMs: 5 },
      models: [],
      saltHeader: 'x-tenant-id',
    });
    expect(parseConfig('{"saltHeader":null}').saltHeader).toBeNull();
  });

  it.each([
    ['', 'must be JSON; got ""'],
    ['[]', 'config must be an object; got []'],
    ['{"limit":{}}', 'config has no field "limit"; it has limits, deadlines, models, saltHeader'],
    ['{"limits":7}', 'limits must be an object; got 7'],
    ['{"limits":{"inflight":1}}', 'limits has no field "inflight"; it has inFlight, queue, queueTimeoutMs, bodyBytes'],
    ['{"limits":{"inFlight":0}}', 'limits.inFlight must be a whole number from 1 to 1000000; got 0'],
    ['{"limits":{"inFlight":1.5}}', 'limits.inFlight must be a whole number from 1 to 1000000; got 1.5'],
    ['{"limits":{"inFlight":"8"}}', 'limits.inFlight must be a whole number from 1 to 1000000; got "8"'],
    ['{"deadlines":{"totalMs":1e99}}', 'deadlines.totalMs must be a whole number from 1 to 86400000; got 1e+99'],
    ['{"saltHeader":"x-sluice-salt"}', 'saltHeader must be the name of an HTTP header, not one of x-sluice-*; got "x-sluice-salt"'],
    ['{"models":{}}', 'models must be a list of at most 32'],
    ['{"models":[{"name":"","url":"http://a"}]}', 'models[0].name must be the name of a model; got ""'],
    ['{"models":[{"name":"a","url":"https://a"}]}', 'models[0].url must be an address such as http://chat.default.svc:80, without a path'],
    ['{"saltHeader":"a b"}', 'saltHeader must be the name of an HTTP header, not one of x-sluice-*; got "a b"'],
  ])('refuses %s', (text, message) => {
    expect(() => parseConfig(text)).toThrow(message);
  });
});
