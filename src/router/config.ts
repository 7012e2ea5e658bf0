/** What a router is told at its start, beside addresses. Pure. */
import { SluiceError } from '../shared/index.ts';

export interface ForwardedModel {
  /** As requests ask for it. */
  readonly name: string;
  /** Of the router that has it: `http://host:port`. */
  readonly url: string;
}

export interface TracingConfig {
  /** OTLP/HTTP receiver: `http://host:port`. */
  readonly endpoint: string;
  /** Share of the requests without a trace context that is traced, 0 to 1; for the others the client has decided. */
  readonly sampleRatio: number;
  /** Who the router is among the services of a trace: `service.name`. */
  readonly serviceName: string;
  /** `service.namespace`; null = none. */
  readonly serviceNamespace: string | null;
}

export interface RouterConfig {
  readonly limits: {
    /** Requests being served at one time. */
    readonly inFlight: number;
    /** Requests waiting beyond those. */
    readonly queue: number;
    readonly queueTimeoutMs: number;
    /** Bytes of one request body. */
    readonly bodyBytes: number;
  };
  /** Longest time per stage. */
  readonly deadlines: {
    readonly prefillMs: number;
    /** Pull of KV; what is missing then is recomputed. */
    readonly pullMs: number;
    /** From the start of the decode leg to its first token. */
    readonly firstTokenMs: number;
    /** Between two tokens. */
    readonly idleMs: number;
    readonly totalMs: number;
  };
  /** Models of other routers; a request for one is passed on. */
  readonly models: readonly ForwardedModel[];
  /** Request header whose value salts the KV key chain, lower case; null = all clients share KV. */
  readonly saltHeader: string | null;
  /** Null = no spans are made. */
  readonly tracing: TracingConfig | null;
}

export const DEFAULT_CONFIG: RouterConfig = {
  limits: { inFlight: 2048, queue: 4096, queueTimeoutMs: 30_000, bodyBytes: 10 * 2 ** 20 },
  deadlines: { prefillMs: 30_000, pullMs: 5_000, firstTokenMs: 60_000, idleMs: 30_000, totalMs: 600_000 },
  models: [],
  saltHeader: null,
  tracing: null,
};

const DAY_MS = 86_400_000;
type Bounds<T> = { readonly [K in keyof T]: readonly [number, number] };
const LIMITS: Bounds<RouterConfig['limits']> = {
  inFlight: [1, 1_000_000],
  queue: [0, 1_000_000],
  queueTimeoutMs: [1, DAY_MS],
  bodyBytes: [1024, 2 ** 30],
};
const DEADLINES: Bounds<RouterConfig['deadlines']> = {
  prefillMs: [1, DAY_MS],
  pullMs: [1, DAY_MS],
  firstTokenMs: [1, DAY_MS],
  idleMs: [1, DAY_MS],
  totalMs: [1, DAY_MS],
};
const SALT_HEADER = /^(?!x-sluice-)[a-z0-9][-a-z0-9]{0,63}$/i;

/**
 * Reads `--config`: a JSON object with any of `limits`, `deadlines`, `models`, `saltHeader` and `tracing`; what is left out keeps its default.
 * @throws SluiceError invalid_request naming the field, its value and what it must be
 */
export function parseConfig(text: string): RouterConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SluiceError('invalid_request', `must be JSON; got ${JSON.stringify(text.slice(0, 60))}`, { cause });
  }
  const root = objectOf(value, 'config', ['limits', 'deadlines', 'models', 'saltHeader', 'tracing']);
  return {
    limits: numbersOf(root['limits'], 'limits', LIMITS, DEFAULT_CONFIG.limits),
    deadlines: numbersOf(root['deadlines'], 'deadlines', DEADLINES, DEFAULT_CONFIG.deadlines),
    models: modelsOf(root['models']),
    saltHeader: saltHeaderOf(root['saltHeader']),
    tracing: tracingOf(root['tracing']),
  };
}

function objectOf(value: unknown, path: string, names: readonly string[]): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SluiceError('invalid_request', `${path} must be an object; got ${JSON.stringify(value)}`, { param: path });
  }
  for (const name of Object.keys(value)) {
    if (names.includes(name)) continue;
    throw new SluiceError('invalid_request', `${path} has no field "${name}"; it has ${names.join(', ')}`, { param: `${path}.${name}` });
  }
  return value as Readonly<Record<string, unknown>>;
}

function numbersOf<T extends { readonly [K in keyof T]: number }>(value: unknown, path: string, bounds: Bounds<T>, defaults: T): T {
  if (value === undefined) return defaults;
  const names = Object.keys(bounds) as (keyof T & string)[];
  const given = objectOf(value, path, names);
  const numbers = { ...defaults };
  for (const name of names) {
    const number = given[name];
    if (number === undefined) continue;
    const [min, max] = bounds[name];
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < min || number > max) {
      const message = `${path}.${name} must be a whole number from ${min} to ${max}; got ${JSON.stringify(number)}`;
      throw new SluiceError('invalid_request', message, { param: `${path}.${name}` });
    }
    Object.assign(numbers, { [name]: number });
  }
  return numbers;
}

const MAX_MODELS = 32;

function modelsOf(value: unknown): readonly ForwardedModel[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_MODELS) {
    throw new SluiceError('invalid_request', `models must be a list of at most ${MAX_MODELS}`, { param: 'models' });
  }
  return value.map((one: unknown, index) => {
    const path = `models[${index}]`;
    const { name, url } = objectOf(one, path, ['name', 'url']);
    if (typeof name !== 'string' || name === '') {
      throw new SluiceError('invalid_request', `${path}.name must be the name of a model; got ${JSON.stringify(name)}`, { param: path });
    }
    if (typeof url !== 'string' || !URL.canParse(url) || new URL(url).protocol !== 'http:' || url.endsWith('/')) {
      const message = `${path}.url must be an address such as http://chat.default.svc:80, without a path; got ${JSON.stringify(url)}`;
      throw new SluiceError('invalid_request', message, { param: path });
    }
    return { name, url };
  });
}

function saltHeaderOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string' && SALT_HEADER.test(value)) return value.toLowerCase();
  const message = `saltHeader must be the name of an HTTP header, not one of x-sluice-*; got ${JSON.stringify(value)}`;
  throw new SluiceError('invalid_request', message, { param: 'saltHeader' });
}

const SERVICE = 'sluice-router';
/** With its port: the one that HTTP has by itself is not that of a collector. */
const ENDPOINT = /^http:\/\/[^/@?#\s]+:\d{1,5}$/;
const SERVICE_NAME = /^[\x20-\x7e]{1,255}$/;

function tracingOf(value: unknown): TracingConfig | null {
  if (value === undefined || value === null) return null;
  const given = objectOf(value, 'tracing', ['endpoint', 'sampleRatio', 'serviceName', 'serviceNamespace']);
  const { endpoint, sampleRatio = 1, serviceName = SERVICE, serviceNamespace = null } = given;
  if (typeof endpoint !== 'string' || !ENDPOINT.test(endpoint) || !URL.canParse(endpoint)) {
    const expected = 'the OTLP/HTTP address of a collector such as http://otel-collector:4318, with its port and without a path';
    throw wrong('tracing.endpoint', expected, endpoint);
  }
  if (typeof sampleRatio !== 'number' || !(sampleRatio >= 0 && sampleRatio <= 1)) {
    throw wrong('tracing.sampleRatio', 'a number from 0 to 1: the share of requests that is traced', sampleRatio);
  }
  return {
    endpoint,
    sampleRatio,
    serviceName: serviceText('tracing.serviceName', serviceName),
    serviceNamespace: serviceNamespace === null ? null : serviceText('tracing.serviceNamespace', serviceNamespace),
  };
}

function serviceText(path: string, value: unknown): string {
  if (typeof value === 'string' && SERVICE_NAME.test(value)) return value;
  throw wrong(path, '1 to 255 printable characters', value);
}

function wrong(path: string, expected: string, value: unknown): SluiceError {
  return new SluiceError('invalid_request', `${path} must be ${expected}; got ${JSON.stringify(value)}`, { param: path });
}
