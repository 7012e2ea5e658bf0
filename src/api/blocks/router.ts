/** `router`: the door of a deployment. */
import { z } from 'zod';
import { block, decimalNumber, duration, oneOf, quantity, text, wholeNumber } from '../fields.ts';
import { ruled } from '../rule.ts';
import { printable } from './names.ts';

const HOUR = 3_600_000;
const MIB = 2 ** 20;
/** Headers by which router and instances talk. */
const OWN_HEADERS = 'x-sluice-';

const count = (what: string, min: number) => wholeNumber({ min, max: 1_000_000, unit: 'requests' }).describe(what);
const limits = block({
  inFlight: count('Requests served at one time, 1 to 1,000,000.', 1).default(2_048),
  queue: count('Requests that may wait beyond those; more are refused with 429. 0 to 1,000,000.', 0).default(1_024),
  queueTimeout: duration({ min: 10, max: HOUR })
    .default('10s')
    .describe('Longest wait in that queue, as a duration, 10ms to 1h; then 503.'),
  bodyBytes: quantity({ min: 1_024, max: 1_024 * MIB })
    .default('10Mi')
    .describe('Largest request body, 1Ki to 1Gi; larger ones are refused with 413.'),
});

const stage = (what: string, value: string) =>
  duration({ min: 10, max: 24 * HOUR })
    .default(value)
    .describe(`${what}, as a duration, 10ms to 24h.`);
const deadlines = block({
  prefill: stage('Longest prefill leg', '30s'),
  pull: stage('Longest wait of an instance for KV of a peer or its store; what is missing then is recomputed', '5s'),
  firstToken: stage('Longest time from the start of the decode leg to its first token', '60s'),
  idle: stage('Longest pause between two tokens', '30s'),
  total: stage('Longest life of a request', '10m'),
});

const service = block({
  type: oneOf(['ClusterIP', 'NodePort', 'LoadBalancer'])
    .default('ClusterIP')
    .describe('Type of the Service: `ClusterIP` is reached from inside the cluster, `NodePort` and `LoadBalancer` also from outside.'),
  port: wholeNumber({ min: 1, max: 65_535 }).default(80).describe('Port of the Service, 1 to 65,535.'),
});

const MAX_MODELS = 32;
const otherModel = block({
  name: printable(256).describe('Name under which clients ask for the model. 1 to 256 characters.'),
  url: text({
    expected: 'the address of a router, such as http://chat.default.svc:80, without a path',
    pattern: /^http:\/\/(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/,
    max: 300,
  }).describe('Address of the router that serves it, as `status.url` has it: `http://host:port`. At most 300 characters.'),
});
const models = z
  .array(otherModel, { error: 'a list of {name: …, url: …}' })
  .max(MAX_MODELS, { error: `a list of at most ${MAX_MODELS} models` })
  .superRefine((given, context) => {
    const names = given.map(({ name }) => name);
    for (const [index, name] of names.entries()) {
      if (names.indexOf(name) < index) context.addIssue({ code: 'custom', path: [index], message: 'every model once: remove this one' });
    }
  })
  .meta({
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['name'],
    form: { name: 'list', bounds: `at most ${MAX_MODELS}` },
  });

const PORT = '(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])';
const tracing = block({
  endpoint: text({
    expected: 'the OTLP/HTTP address of a collector, such as http://otel-collector:4318, with its port and without a path',
    pattern: new RegExp(`^http://(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,252}[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]{2,45}\\]):${PORT}$`),
    max: 300,
  }).describe('Address of the OTLP/HTTP receiver of an OpenTelemetry collector: `http://host:port`. At most 300 characters.'),
  sampleRatio: decimalNumber({ min: 0, max: 1 })
    .default(1)
    .describe(
      'Share of requests that is traced, 0 to 1, of those that come without a `traceparent`. Of the others, those whose client traces them.',
    ),
});

const saltHeader = text({
  expected: `the name of an HTTP header, such as x-tenant-id, that does not start with ${OWN_HEADERS}`,
  pattern: /^[A-Za-z0-9][-A-Za-z0-9]{0,63}$/,
  max: 64,
});

export const router = block({
  host: text({
    expected: 'an IP address or host name to listen on',
    pattern: /^[A-Za-z0-9][-A-Za-z0-9.]{0,252}$|^[0-9A-Fa-f:.]{2,45}$/,
    max: 253,
  })
    .default('127.0.0.1')
    .describe(
      'Address that the router listens on, on one machine. `0.0.0.0` makes it reachable from other machines. On Kubernetes `service` says how it is reached.',
    ),
  port: wholeNumber({ min: 0, max: 65_535 })
    .default(0)
    .describe(
      'Port that the router listens on, on one machine, 0 to 65,535; 0 takes any free one and prints it. On Kubernetes `service` says how it is reached.',
    ),
  replicas: wholeNumber({ min: 1, max: 16, unit: 'routers' })
    .default(1)
    .describe('Number of routers, 1 to 16. Used on Kubernetes; the process platform runs one.'),
  service: service.prefault({}).describe('The Service in front of the routers. Used on Kubernetes; the process platform ignores it.'),
  limits: limits.prefault({}).describe('Bounds of what one router takes on.'),
  deadlines: deadlines.prefault({}).describe('Longest time per stage of a request.'),
  models: models
    .optional()
    .describe(
      'Models of other routers that this one takes requests for too, at most 32: one address for several models. Requests are passed on as they came, once; the other router does the rest.',
    ),
  tracing: tracing
    .optional()
    .describe(
      'OpenTelemetry traces: each request as spans, from its admission to its last token, sent to a collector. Absent: none. See docs/tracing.md.',
    ),
  saltHeader: ruled(saltHeader, [
    {
      field: '',
      expected: `the name of an HTTP header, such as x-tenant-id, that does not start with ${OWN_HEADERS}`,
      cel: `!self.lowerAscii().startsWith('${OWN_HEADERS}')`,
      holds: (value) => !value.toLowerCase().startsWith(OWN_HEADERS),
    },
  ])
    .optional()
    .describe(
      'Request header whose value separates tenants: KV is only reused between requests with the same value. Absent: shared by all.',
    ),
});
