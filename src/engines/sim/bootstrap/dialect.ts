/**
 * A simulator of the contract of SGLang 0.5.18 with prefill and decode instances, as its documents and its own router have it: fields, order of
 * calls, who waits for whom, what each says when the other is missing. No SGLang was run to make it. What tells the router about the engine
 * (`/sluice/…`) is as everywhere; of a real SGLang an agent tells it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Clock, SluiceError } from '../../../shared/index.ts';
import { parseBody } from '../../openai/body.ts';
import type { CallKind } from '../../openai/call.ts';
import type { HttpDialect } from '../../openai/dialect.ts';
import { sendJson, sendText } from '../../openai/replies.ts';
import { type Face, FEED, type Handler, type Routes } from '../../openai/routes.ts';
import { fastApi, modelList } from '../fastapi.ts';
import { type Fault, faultOf } from '../nixl/faults.ts';
import { Refusal, refused } from '../nixl/fields.ts';
import type { SimCore } from '../simcore.ts';
import { parseSglangCall, ridIn, type SglangCall } from './call.ts';
import { SglangRequest } from './request.ts';
import { faultBody } from './shapes.ts';

export function bootstrapDialect(core: SimCore, clock: Clock): HttpDialect {
  const active = new Map<string, SglangRequest>();
  const created = Math.floor(clock.wall() / 1000);
  const generates = (kind: CallKind) => ({ method: 'POST' as const, handle: generate(core, active, kind) });
  const routes: Routes = {
    ...FEED,
    '/v1/completions': generates('completion'),
    '/v1/chat/completions': generates('chat'),
    '/v1/models': {
      method: 'GET',
      handle: (_face, _request, response) => sendJson(response, 200, modelList(core, created, 'sglang')),
    },
    '/health': { method: 'GET', handle: (_face, _request, response) => sendText(response, core.load().draining ? 503 : 200, '', {}) },
    '/abort_request': { method: 'POST', handle: (face, request, response) => abort(face, active, request, response) },
  };
  return fastApi(routes, (response, error) => tell(response, faultOf(error)));
}

function generate(core: SimCore, active: Map<string, SglangRequest>, kind: CallKind): Handler {
  return async (face, request, response) => {
    const body = parseBody(await face.bodies.read(request));
    try {
      const call = parseSglangCall(kind, body, {
        info: core.info,
        tokenizer: core.tokenizer,
        requestId: face.newId(),
        created: Math.floor(face.clock.wall() / 1000),
        fallbackSeed: face.newSeed(),
      });
      // Before a room is entered, which nobody would leave.
      if (response.destroyed) throw new SluiceError('client_closed', 'the client went away');
      admit(core, active, call);
      const one = new SglangRequest({ face, core, call, response, onOver: () => active.delete(call.rid) });
      active.set(call.rid, one);
      await one.run();
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown;
      tell(response, thrown.fault);
    }
  };
}

/** @throws Refusal */
function admit(core: SimCore, active: ReadonlyMap<string, SglangRequest>, { rid, room }: SglangCall): void {
  if (active.has(rid)) throw refused(`Duplicate request ID detected: ${rid}`, null);
  if (core.info.role === 'mixed') return;
  if (room === null) throw refused(`Invalid request: Disaggregated request received without bootstrap room id. req.rid='${rid}'`, null);
  const isTaken = core.info.role === 'prefill' && core.rooms?.enter(room.room) === false;
  if (isTaken) throw refused(`bootstrap_room=${room.room} is in use`, 'bootstrap_room');
}

async function abort(
  face: Face,
  active: ReadonlyMap<string, SglangRequest>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    active.get(ridIn(parseBody(await face.bodies.read(request))))?.abort();
    sendText(response, 200, '', {});
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    tell(response, thrown.fault);
  }
}

function tell(response: ServerResponse, fault: Fault): void {
  sendText(response, fault.status, faultBody(fault), { 'content-type': 'application/json' });
}
