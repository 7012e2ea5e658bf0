/** Contexts that are pinned here: asked for, renewed and let go by whoever looks after them. docs/engine-protocol.md. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SluiceError } from '../../shared/index.ts';
import type { ContextPins, PinTier } from '../pins.ts';
import { beginningOfChat, beginningOfText } from './beginning.ts';
import { parseBody } from './body.ts';
import { readMessages } from './call.ts';
import { type Body, invalid } from './fields.ts';
import { sendJson } from './replies.ts';
import type { Face, Handler, Routes } from './routes.ts';

const LONGEST_TTL_MS = 3_600_000;
const WORD = /^[!-~]{1,256}$/;

export const PIN_ROUTES: Routes = {
  '/sluice/kv/pins': { method: 'GET', handle: (face, _request, response) => sendJson(response, 200, pinsOf(face).view()) },
  '/sluice/kv/pin': { method: 'POST', handle: asked(pin) },
  '/sluice/kv/renew': { method: 'POST', handle: asked(renew) },
  '/sluice/kv/unpin': { method: 'POST', handle: asked((pins, body) => ({ unpinned: pins.unpin(readWord(body, 'id')) })) },
};

function asked(answer: (pins: ContextPins, body: Body, face: Face) => object): Handler {
  return async (face: Face, request: IncomingMessage, response: ServerResponse) => {
    const body = parseBody(await face.bodies.read(request));
    sendJson(response, 200, answer(pinsOf(face), body, face));
  };
}

/** One of `prompt` (text) and `messages`; whatever comes after it in a request, the tokens that are pinned are its first ones. */
function pin(pins: ContextPins, body: Body, { core: { tokenizer } }: Face): object {
  const { prompt, messages } = body;
  const [id, digest, ttlMs, salt] = [readWord(body, 'id'), readWord(body, 'digest'), readTtl(body), readSalt(body)];
  if ((prompt === undefined) === (messages === undefined)) throw invalid('prompt', 'given, or `messages`, but not both', prompt);
  if (prompt !== undefined && typeof prompt !== 'string') throw invalid('prompt', 'a string', prompt);
  const tokens = typeof prompt === 'string' ? beginningOfText(tokenizer, prompt) : beginningOfChat(tokenizer, readMessages(body));
  pins.pin({ id, digest, prompt: tokens, salt, tier: readTier(body), ttlMs });
  return { pin: pins.view().pins.find((one) => one.id === id) };
}

function renew(pins: ContextPins, body: Body): object {
  return { renewed: pins.renew(readWord(body, 'id'), readWord(body, 'digest'), readTtl(body)) };
}

function pinsOf({ core }: Face): ContextPins {
  if (core.pins === undefined) throw new SluiceError('not_found', 'this engine cannot pin KV');
  return core.pins;
}

function readWord(body: Body, name: 'id' | 'digest'): string {
  const value = body[name];
  if (typeof value !== 'string' || !WORD.test(value)) throw invalid(name, '1 to 256 printable ASCII characters without spaces', value);
  return value;
}

function readSalt({ salt }: Body): string {
  if (salt === undefined) return '';
  if (typeof salt !== 'string' || salt.length > 128) throw invalid('salt', 'a string of at most 128 characters', salt);
  return salt;
}

function readTier({ tier = 'host' }: Body): PinTier {
  if (tier === 'host' || tier === 'store') return tier;
  throw invalid('tier', '"host" or "store"', tier);
}

function readTtl({ ttlMs }: Body): number {
  if (typeof ttlMs === 'number' && ttlMs >= 1 && ttlMs <= LONGEST_TTL_MS) return ttlMs;
  throw invalid('ttlMs', `a number from 1 to ${LONGEST_TTL_MS}`, ttlMs);
}
