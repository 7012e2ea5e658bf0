/**
 * The face of a vLLM 0.32.0 with NixlConnector, in front of a simulated engine: what a router and its clients meet, with the faults.
 * What tells the router about the engine (`/sluice/…`) is as everywhere; of a real vLLM an agent tells it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Clock, SluiceError } from '../../../shared/index.ts';
import { METRICS_CONTENT_TYPE, MetricTable } from '../../../telemetry/metrics/index.ts';
import { parseBody } from '../../openai/body.ts';
import { type CallKind, readMessages, readPrompt } from '../../openai/call.ts';
import type { HttpDialect } from '../../openai/dialect.ts';
import { type Body, isObject } from '../../openai/fields.ts';
import { sendJson, sendText } from '../../openai/replies.ts';
import { type Face, FEED, type Handler, type Routes } from '../../openai/routes.ts';
import { fastApi, modelList } from '../fastapi.ts';
import type { SimCore } from '../simcore.ts';
import { parseVllmCall, requestIdOf } from './call.ts';
import { DEAD, type Fault, faultBody, faultOf } from './faults.ts';
import { Refusal } from './fields.ts';
import { readTransfer } from './params.ts';
import { VllmRequest } from './request.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const NOT_JSON: Fault = {
  status: 400,
  type: 'Bad Request',
  message: "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
  param: null,
};
const VERSION = '0.32.0';
const TRANSFER_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 5];
const TRANSFER_BYTES = Array.from({ length: 12 }, (_, index) => 2 ** (11 + 2 * index));

export function nixlDialect(core: SimCore, clock: Clock): HttpDialect {
  const counts = transferMetrics(core);
  const started = Math.floor(clock.wall() / 1000);
  const generates = (kind: CallKind) => ({ method: 'POST' as const, handle: generate(core, kind) });
  const routes: Routes = {
    ...FEED,
    '/v1/completions': generates('completion'),
    '/v1/chat/completions': generates('chat'),
    '/v1/models': {
      method: 'GET',
      handle: (_face, _request, response) => sendJson(response, 200, modelList(core, started, 'vllm', { permission: [] })),
    },
    '/tokenize': { method: 'POST', handle: tokenize },
    '/version': { method: 'GET', handle: (_face, _request, response) => sendJson(response, 200, { version: VERSION }) },
    '/health': { method: 'GET', handle: (_face, _request, response) => sendText(response, core.dead ? 503 : 200, '', {}) },
    '/metrics': {
      method: 'GET',
      handle: async (face, _request, response) =>
        sendText(response, 200, `${await face.metrics.text()}${await counts.text()}`, { 'content-type': METRICS_CONTENT_TYPE }),
    },
  };
  return fastApi(routes, (response, error) => tell(response, faultOf(error)));
}

function generate(core: SimCore, kind: CallKind): Handler {
  return async (face, request, response) => {
    const bytes = await face.bodies.read(request);
    if (!isJson(request)) return tell(response, NOT_JSON);
    const body = parseBody(bytes);
    try {
      if (core.dead) throw new SluiceError('engine_failed', DEAD.message);
      const call = parseVllmCall(kind, body, {
        info: core.info,
        tokenizer: core.tokenizer,
        requestId: requestIdOf(request.headers['x-request-id'], body, face.newId),
        created: Math.floor(face.clock.wall() / 1000),
        fallbackSeed: face.newSeed(),
      });
      begin({ face, core, call, response });
    } catch (thrown) {
      rejected(core, body);
      if (!(thrown instanceof Refusal)) throw thrown;
      tell(response, thrown.fault);
    }
  };
}

function isJson(request: IncomingMessage): boolean {
  const [type] = (request.headers['content-type'] ?? '').toLowerCase().split(';');
  return type?.trim() === 'application/json';
}

function tell(response: ServerResponse, fault: Fault): void {
  sendText(response, fault.status, faultBody(fault), JSON_TYPE);
}

function begin(options: ConstructorParameters<typeof VllmRequest>[0]): void {
  if (options.response.destroyed) throw new SluiceError('client_closed', 'the client went away');
  new VllmRequest(options).run();
}

/** The peer that keeps blocks for a request that is refused is told at once. */
function rejected(core: SimCore, body: Body): void {
  const params = body['kv_transfer_params'];
  const transfer = readTransfer(isObject(params) ? params : null, core.info);
  if (transfer.kind === 'take' && !core.dead) core.notify(transfer.ticket);
}

async function tokenize(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { info, tokenizer } = face.core;
  const body = parseBody(await face.bodies.read(request));
  const tokens = body['messages'] === undefined ? readPrompt(body, tokenizer) : tokenizer.encodeChat(readMessages(body));
  sendJson(response, 200, { count: tokens.length, max_model_len: info.contextTokens, tokens: [...tokens], token_strs: null });
}

function transferMetrics(core: SimCore): MetricTable {
  const table = new MetricTable({ model_name: core.info.model, engine: '0' });
  const seconds = table.histogram({ name: 'vllm:nixl_xfer_time_seconds', help: 'Time of a pull in seconds.' }, TRANSFER_SECONDS);
  const bytes = table.histogram({ name: 'vllm:nixl_bytes_transferred', help: 'KV bytes of a pull.' }, TRANSFER_BYTES);
  core.onPulled((count, ms) => {
    bytes.observe(count);
    seconds.observe(ms / 1000);
  });
  const total = (name: string, help: string, read: () => number) => {
    table.total({ name: `vllm:nixl_${name}_total`, help }, () => [{ value: read() }]);
  };
  total('num_failed_notifications', 'Peers that could not be told.', () => core.nixlCounters().failedNotifications);
  total('num_notifications_after_expiry', 'Reads told when the lease was over.', () => core.nixlCounters().notificationsAfterExpiry);
  return table;
}
