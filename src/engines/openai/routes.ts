/** Which path answers what. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Clock, SluiceError } from '../../shared/index.ts';
import { METRICS_CONTENT_TYPE } from '../../telemetry/metrics/index.ts';
import type { EngineCore } from '../port.ts';
import { type BodyReader, parseBody } from './body.ts';
import { checkModel, readMessages, readPrompt } from './call.ts';
import type { EventHub } from './events.ts';
import { type Body, invalid } from './fields.ts';
import { generate } from './generate.ts';
import { KV_ROUTES } from './kvroutes.ts';
import type { EngineMetrics } from './metrics.ts';
import { PIN_ROUTES } from './pinroutes.ts';
import { sendJson, sendText } from './replies.ts';
import type { EngineLogger, EngineServerLimits } from './server.ts';
import { readCommand, type Sessions, type SessionVerb } from './sessions.ts';
import type { PieceTable } from './text.ts';

/** What one server has for all its requests. */
export interface Face {
  readonly core: EngineCore;
  readonly clock: Clock;
  readonly logger: EngineLogger;
  readonly limits: EngineServerLimits;
  readonly newId: () => string;
  readonly newSeed: () => number;
  readonly bodies: BodyReader;
  readonly pieces: PieceTable;
  readonly metrics: EngineMetrics;
  readonly events: EventHub;
  readonly sessions: Sessions;
}

export type Handler = (face: Face, request: IncomingMessage, response: ServerResponse) => Promise<void> | void;
export type Routes = Readonly<Record<string, { readonly method: 'GET' | 'POST'; readonly handle: Handler }>>;

/** What tells the router about an engine, whatever that speaks. */
export const FEED: Routes = {
  '/sluice/info': { method: 'GET', handle: (face, _request, response) => sendJson(response, 200, face.core.info) },
  '/sluice/events': { method: 'GET', handle: events },
  '/sluice/drain': { method: 'POST', handle: drain },
  '/sluice/empty': { method: 'POST', handle: emptied(true) },
  '/sluice/refill': { method: 'POST', handle: emptied(false) },
};

const ROUTES: Routes = {
  ...FEED,
  '/v1/completions': { method: 'POST', handle: (face, request, response) => generate(face, 'completion', request, response) },
  '/v1/chat/completions': { method: 'POST', handle: (face, request, response) => generate(face, 'chat', request, response) },
  '/v1/models': { method: 'GET', handle: models },
  '/tokenize': { method: 'POST', handle: tokenize },
  '/health': { method: 'GET', handle: (_face, _request, response) => sendText(response, 200, '', {}) },
  '/metrics': { method: 'GET', handle: metrics },
  '/sluice/release': { method: 'POST', handle: release },
  ...KV_ROUTES,
  ...PIN_ROUTES,
  '/sluice/session/offer': { method: 'POST', handle: command('offer') },
  '/sluice/session/pull': { method: 'POST', handle: command('pull') },
  '/sluice/session/follow': { method: 'POST', handle: command('follow') },
  '/sluice/session/stop': { method: 'POST', handle: command('stop') },
  '/sluice/session/commit': { method: 'POST', handle: command('commit') },
  '/sluice/session/release': { method: 'POST', handle: command('release') },
};

/** @throws SluiceError not_found, method_not_allowed and what the path's handler throws */
export async function route(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = pathOf(request);
  const found = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (found === undefined) throw new SluiceError('not_found', `no such path: ${path.slice(0, 200)}`);
  if (request.method !== found.method) {
    response.setHeader('allow', found.method);
    throw new SluiceError('method_not_allowed', `${path} takes ${found.method}, not ${request.method}`);
  }
  await found.handle(face, request, response);
}

export function pathOf(request: IncomingMessage): string {
  return (request.url ?? '/').split('?', 1)[0] ?? '/';
}

async function jsonBody(face: Face, request: IncomingMessage): Promise<Body> {
  return parseBody(await face.bodies.read(request));
}

function models(face: Face, _request: IncomingMessage, response: ServerResponse): void {
  const { info } = face.core;
  const model = {
    id: info.model,
    object: 'model',
    created: Math.floor(face.clock.wall() / 1000),
    owned_by: info.simulated ? 'sluice (simulated)' : 'sluice',
    root: info.model,
    parent: null,
    max_model_len: info.contextTokens,
    engine: info.engine,
    simulated: info.simulated,
    ...(info.simulated ? { note: 'simulated: no model is run; text is made up and timings follow declared constants' } : {}),
  };
  sendJson(response, 200, { object: 'list', data: [model] });
}

async function tokenize(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { info, tokenizer } = face.core;
  const body = await jsonBody(face, request);
  if ((body['model'] ?? null) !== null) checkModel(body, info);
  const chat = body['messages'] !== undefined;
  if (chat && body['prompt'] !== undefined) throw invalid('prompt', 'absent when `messages` is given', body['prompt']);
  const tokens = chat ? tokenizer.encodeChat(readMessages(body)) : readPrompt(body, tokenizer);
  sendJson(response, 200, { count: tokens.length, max_model_len: info.contextTokens, tokens: [...tokens], token_strs: null });
}

async function metrics(face: Face, _request: IncomingMessage, response: ServerResponse): Promise<void> {
  sendText(response, 200, await face.metrics.text(), { 'content-type': METRICS_CONTENT_TYPE });
}

function events(face: Face, request: IncomingMessage, response: ServerResponse): void {
  if (face.events.subscribe(response, request.url)) return;
  throw new SluiceError('unavailable', `there are ${face.limits.eventSubscribers} subscribers of events already`);
}

async function release(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { lease } = await jsonBody(face, request);
  if (typeof lease !== 'string') throw invalid('lease', 'a string', lease);
  face.core.releaseLease(lease);
  sendJson(response, 200, { released: lease });
}

function command(verb: SessionVerb): Handler {
  return async (face, request, response) => {
    const body = await jsonBody(face, request);
    await face.sessions.obey(face, readCommand(verb, body, face.core.tokenizer.vocabularySize), response);
  };
}

function emptied(on: boolean): Handler {
  return async (face, request, response) => {
    // As with a drain.
    await face.bodies.read(request);
    face.events.empty(on);
    sendJson(response, 200, { emptied: on });
  };
}

async function drain(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void> {
  // The body has no meaning, but it must be gone before the connection can be used again.
  await face.bodies.read(request);
  face.core.drain().catch((thrown: unknown) => face.logger.error({ err: thrown }, 'draining failed'));
  sendJson(response, 202, { draining: true });
}
