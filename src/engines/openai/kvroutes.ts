/** What an engine says of the KV that it holds, for `sluice kv`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { hexNumber, type Tier } from '../../kv/index.ts';
import { SluiceError } from '../../shared/index.ts';
import type { EngineCore } from '../port.ts';
import { parseBody } from './body.ts';
import { invalid } from './fields.ts';
import { sendJson } from './replies.ts';
import type { Face, Routes } from './routes.ts';

/** Keys that are asked about, and named in one answer, at most. */
const MOST_KEYS = 4_096;
const TIERS: readonly Tier[] = ['hbm', 'host', 'store'];

export const KV_ROUTES: Routes = {
  '/sluice/kv/blocks': { method: 'GET', handle: blocks },
  '/sluice/kv/where': { method: 'POST', handle: where },
  '/sluice/kv/verify': { method: 'POST', handle: verify },
};

/** Keys by tier, `limit` of each. */
function blocks({ core }: Face, request: IncomingMessage, response: ServerResponse): void {
  const { searchParams } = new URL(request.url ?? '/', 'http://engine');
  const text = searchParams.get('limit') ?? '100';
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_KEYS) throw invalid('limit', `a whole number from 1 to ${MOST_KEYS}`, text);
  const { tiers } = core.snapshot();
  const { instance, bytesPerBlock, identity } = core.info;
  const held = TIERS.flatMap((tier) => {
    const keys = tiers[tier];
    return keys === undefined ? [] : [[tier, { blocks: keys.length, keys: keys.slice(0, limit) }]];
  });
  sendJson(response, 200, { instance, bytesPerBlock, blockTokens: identity.blockTokens, tiers: Object.fromEntries(held) });
}

/** How many leading blocks of a chain are in each tier. Keys are the numbers that a router knows blocks by. */
async function where(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { keys } = parseBody(await face.bodies.read(request));
  if (!Array.isArray(keys) || keys.length > MOST_KEYS || !keys.every((key) => typeof key === 'number'))
    throw invalid('keys', `a list of at most ${MOST_KEYS} numbers`, keys);
  sendJson(response, 200, leading(face.core, keys));
}

function leading(core: EngineCore, keys: readonly number[]): Readonly<Record<'hbm' | 'host' | 'store' | 'held', number>> {
  const wanted = new Set(keys);
  const { tiers } = core.snapshot();
  const found = TIERS.map((tier) => new Set((tiers[tier] ?? []).map(hexNumber).filter((number) => wanted.has(number))));
  const count = (has: (key: number) => boolean) => {
    const end = keys.findIndex((key) => !has(key));
    return end < 0 ? keys.length : end;
  };
  const [hbm, host, store] = found.map((set) => count((key) => set.has(key)));
  return { hbm: hbm ?? 0, host: host ?? 0, store: store ?? 0, held: count((key) => found.some((set) => set.has(key))) };
}

async function verify(face: Face, request: IncomingMessage, response: ServerResponse): Promise<void> {
  await face.bodies.read(request);
  const verdict = await face.core.verify?.();
  if (verdict === undefined) throw new SluiceError('not_found', 'this engine cannot verify its KV');
  sendJson(response, 200, verdict);
}
