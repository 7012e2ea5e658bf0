/** The admin face, on a listener of its own that clients do not reach: instances in, records and tables out. */
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { errorBody, SluiceError, toSluiceError } from '../shared/index.ts';
import type { DrainOutcome } from './dispatch/moves/index.ts';
import { tellEmptied } from './instances/ask.ts';
import { readPublishedList } from './instances/published.ts';
import { type PinVerb, pinnedView, tellPin } from './kv/pins.ts';
import { kvBlocks, kvVerify, kvView, kvWhere } from './kv/view.ts';
import type { RouterParts } from './parts.ts';
import { topView } from './top.ts';

const MAX_LATEST = 1000;
/** Of one instance and tier in one answer. */
const MAX_KEYS = 4096;
const DEFAULT_DRAIN_MS = 60_000;
const MAX_DRAIN_MS = 3_600_000;

export function createAdminApp(parts: RouterParts): Express {
  const { registry, records, context, admission } = parts;
  const app = express();
  app.disable('x-powered-by');
  app.use(express.json({ limit: '4mb' }));
  app.put('/admin/instances', (request, response) => {
    registry.publish(readPublishedList(request.body));
    response.json(instances(parts));
  });
  app.get('/admin/instances', (_, response) => void response.json(instances(parts)));
  app.post('/admin/instances/:id/drain', async (request, response) => void response.json(await drain(parts, request)));
  app.post('/admin/instances/:id/undrain', async (request, response) => {
    await tellEmptied(registry.instance(request.params.id), false, context.clock);
    response.json(instances(parts));
  });
  app.get('/admin/requests/:id', (request, response) => {
    const record = records.get(request.params.id);
    if (!record)
      throw new SluiceError(
        'not_found',
        `no record of request ${request.params.id.slice(0, 128)}: it was never here, or later ones took its place`,
      );
    response.json(record);
  });
  app.get('/admin/requests', (request, response) => {
    response.json({ requests: records.latest(limitOf(request, 20, MAX_LATEST)) });
  });
  app.get('/admin/top', (_, response) => void response.json(topView(parts)));
  app.get('/admin/kv', (_, response) => void response.json(kvView(parts)));
  app.get('/admin/kv/where/:id', async (request, response) => void response.json(await kvWhere(parts, request.params.id)));
  app.get('/admin/kv/blocks/:instance', async (request, response) => {
    response.json(await kvBlocks(parts, request.params.instance, limitOf(request, 100, MAX_KEYS)));
  });
  app.post('/admin/kv/verify', async (request, response) => {
    const { instance } = request.query;
    response.json(await kvVerify(parts, typeof instance === 'string' ? instance : null));
  });
  app.get('/admin/pins', async (_, response) => void response.json(await pinnedView(parts)));
  for (const verb of ['pin', 'renew', 'unpin'] satisfies PinVerb[]) {
    app.post(`/admin/pins/:instance/${verb}`, async (request, response) => {
      response.json(await tellPin(parts, request.params['instance'] ?? '', verb, Object(request.body)));
    });
  }
  app.get('/admin/leftovers', (_, response) => {
    const { reservations, legs } = context.held;
    response.json({ reservations, openLegs: legs, inFlight: admission.inFlight, queued: admission.queued });
  });
  app.use((request) => {
    throw new SluiceError('not_found', `no such path: ${request.path.slice(0, 200)}`);
  });
  app.use((thrown: unknown, _request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(thrown);
    const error = bodyFault(thrown) ?? toSluiceError(thrown);
    response.status(error.status).json(errorBody(error));
  });
  return app;
}

async function drain(parts: RouterParts, request: Request<{ id: string }>): Promise<DrainOutcome> {
  const instance = parts.registry.instance(request.params.id);
  const given = request.query['timeoutMs'];
  const deadlineMs = given === undefined ? DEFAULT_DRAIN_MS : Number(given);
  if (!(deadlineMs >= 1 && deadlineMs <= MAX_DRAIN_MS)) {
    const message = `timeoutMs must be a number from 1 to ${MAX_DRAIN_MS}; got ${JSON.stringify(given)}`;
    throw new SluiceError('invalid_request', message, { param: 'timeoutMs' });
  }
  return parts.mover.drain(instance, deadlineMs);
}

/** How many of something are asked for. @throws SluiceError invalid_request */
function limitOf({ query }: Pick<Request, 'query'>, usual: number, most: number): number {
  const { limit: given = String(usual) } = query;
  const limit = typeof given === 'string' ? Number(given) : Number.NaN;
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return limit;
  const message = `limit must be a whole number from 1 to ${most}; got ${JSON.stringify(given).slice(0, 128)}`;
  throw new SluiceError('invalid_request', message, { param: 'limit' });
}

/** What express.json says of a body that it cannot read. */
function bodyFault(thrown: unknown): SluiceError | null {
  if (!(thrown instanceof Error) || !('type' in thrown)) return null;
  if (thrown.type === 'entity.too.large') return new SluiceError('body_too_large', 'the body is larger than 4 MB');
  return thrown.type === 'entity.parse.failed' ? new SluiceError('invalid_json', `the body is not valid JSON: ${thrown.message}`) : null;
}

function instances({ registry, sources, context: { hints } }: RouterParts): object {
  // Null = well, else why the router does without.
  const kv = { ...(hints ? { redis: hints.away } : {}), ...(sources ? { nats: sources.away } : {}) };
  return { generation: registry.generation, model: registry.model, instances: registry.status(), kv };
}
