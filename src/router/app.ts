/** The public face: an Express application with OpenAI's paths. */
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { errorBody, SluiceError, toSluiceError } from '../shared/index.ts';
import { METRICS_CONTENT_TYPE } from '../telemetry/metrics/index.ts';
import { HttpClient } from './dispatch/client.ts';
import { Flight } from './dispatch/flight.ts';
import { parseRequest, type RequestKind, readBody, requestIdOf, saltOf, tenantOf, traceOf } from './edge/index.ts';
import type { RouterParts } from './parts.ts';
import { forwardTokenize } from './tokenize.ts';

export function createApp(parts: RouterParts): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  const generate = (kind: RequestKind) => (request: Request, response: Response) => serve(parts, kind, request, response);
  app.post('/v1/completions', generate('completion'));
  app.post('/v1/chat/completions', generate('chat'));
  app.get('/v1/models', (_, response) => void response.json(models(parts)));
  app.post('/tokenize', (request, response) => forwardTokenize(parts, request, response));
  app.get('/healthz', (_, response) => void response.type('text/plain').send('ok\n'));
  app.get('/readyz', (_, response) => ready(parts, response));
  app.get('/metrics', async (_, response) => void response.type(METRICS_CONTENT_TYPE).send(await parts.metrics.text()));
  for (const path of ['/v1/completions', '/v1/chat/completions', '/v1/models', '/tokenize', '/healthz', '/readyz', '/metrics']) {
    app.all(path, (request) => {
      throw new SluiceError('method_not_allowed', `${path} does not take ${request.method}`);
    });
  }
  app.use((request) => {
    throw new SluiceError('not_found', `no such path: ${request.path.slice(0, 200)}`);
  });
  app.use((thrown: unknown, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) return next(thrown);
    const error = toSluiceError(thrown);
    if (error.code === 'internal') parts.log.error({ err: thrown, path: request.path }, 'a request failed inside the router');
    sendError(response, error);
  });
  return app;
}

function serve(parts: RouterParts, kind: RequestKind, request: Request, response: Response): void {
  const id = requestIdOf(request.headers, parts.newId);
  readBody(request, parts.config.limits.bodyBytes, (body, failure) => {
    if (failure?.code === 'client_closed') return;
    try {
      if (failure || body === null) throw failure ?? new SluiceError('internal', 'no body');
      // Its client could not know yet. It is told now to come back on another connection, which another router takes.
      if (parts.stopping()) response.setHeader('connection', 'close');
      const { model } = parts.registry;
      const elsewhere = parts.forwarder.destination({ headers: request.headers, body, served: model });
      if (elsewhere !== null) {
        parts.underWay.begin();
        const { headers, path } = request;
        return parts.forwarder.pass(elsewhere, { id, path, headers, body, response }, () => parts.underWay.end());
      }
      const parsed = parseRequest(kind, body, model);
      const salt = saltOf(request.headers, parts.config.saltHeader);
      const { headers } = request;
      const options = { id, model, tenant: tenantOf(headers, salt), salt, trace: parts.traced(traceOf(headers)), probe: false };
      const flight = new Flight(parts.context, parsed, new HttpClient(response, id), options);
      parts.underWay.begin();
      flight.start();
    } catch (thrown) {
      response.setHeader('x-request-id', id);
      sendError(response, toSluiceError(thrown));
    }
  });
}

/** Answers before the body may have been read to its end; the connection is not used again then. */
function sendError(response: Response, error: SluiceError): void {
  if (error.retryAfterSeconds !== null) response.setHeader('retry-after', String(error.retryAfterSeconds));
  if (error.code === 'body_too_large') response.setHeader('connection', 'close');
  response.status(error.status).json(errorBody(error));
}

function models({ registry, forwarder, startedAt }: RouterParts): object {
  const [group] = registry.groups;
  const simulated = group?.info.simulated ?? false;
  return {
    object: 'list',
    data: [
      {
        id: registry.model,
        object: 'model',
        created: Math.floor(startedAt / 1000),
        owned_by: simulated ? 'sluice (simulated: no model is run)' : 'sluice',
        simulated,
        max_model_len: group?.info.contextTokens ?? null,
      },
      ...forwarder.names.map((id) => ({ id, object: 'model', created: Math.floor(startedAt / 1000), owned_by: 'sluice' })),
    ],
  };
}

function ready({ prober, stopping }: RouterParts, response: Response): void {
  if (!stopping() && prober.ready) response.type('text/plain').send('ok\n');
  else sendError(response, new SluiceError('unavailable', stopping() ? 'the router is shutting down' : `not ready: ${prober.reason}`));
}
