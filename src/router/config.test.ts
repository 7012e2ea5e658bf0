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
      tracing: null,
    });
    expect(parseConfig('{"saltHeader":null,"tracing":null}')).toEqual(DEFAULT_CONFIG);
    expect(parseConfig('{"tracing":{"endpoint":"http://otel-collector:4318"}}').tracing).toEqual({
      endpoint: 'http://otel-collector:4318',
      sampleRatio: 1,
      serviceName: 'sluice-router',
      serviceNamespace: null,
    });
    const given = { endpoint: 'http://[::1]:4318', sampleRatio: 0, serviceName: 'chat-router', serviceNamespace: 'team' };
    expect(parseConfig(JSON.stringify({ tracing: given })).tracing).toEqual(given);
  });

  it.each([
    ['', 'must be JSON; got ""'],
    ['[]', 'config must be an object; got []'],
    ['{"limit":{}}', 'config has no field "limit"; it has limits, deadlines, models, saltHeader, tracing'],
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
    ['{"tracing":true}', 'tracing must be an object; got true'],
    ['{"tracing":{}}', 'tracing.endpoint must be the OTLP/HTTP address of a collector such as http://otel-collector:4318, with its port'],
    ['{"tracing":{"endpoint":"https://a:4318"}}', 'without a path; got "https://a:4318"'],
    ['{"tracing":{"endpoint":"http://a"}}', 'with its port and without a path; got "http://a"'],
    ['{"tracing":{"endpoint":"http://a:4318/v1/traces"}}', 'without a path; got "http://a:4318/v1/traces"'],
    ['{"tracing":{"endpoint":"http://a:99999"}}', 'tracing.endpoint must be'],
    ['{"tracing":{"endpoint":"http://u:p@a:4318"}}', 'tracing.endpoint must be'],
    ['{"tracing":{"endpoint":"http://a:4318","sampleRatio":1.1}}', 'tracing.sampleRatio must be a number from 0 to 1'],
    ['{"tracing":{"endpoint":"http://a:4318","sampleRatio":"1"}}', 'the share of requests that is traced; got "1"'],
    ['{"tracing":{"endpoint":"http://a:4318","serviceName":""}}', 'tracing.serviceName must be 1 to 255 printable characters; got ""'],
    ['{"tracing":{"endpoint":"http://a:4318","sampleRate":1}}', 'tracing has no field "sampleRate"; it has endpoint, sampleRatio'],
    ['{"saltHeader":"a b"}', 'saltHeader must be the name of an HTTP header, not one of x-sluice-*; got "a b"'],
  ])('refuses %s', (text, message) => {
    expect(() => parseConfig(text)).toThrow(message);
  });
});
