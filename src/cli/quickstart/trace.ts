/** A decision record, cut down to what the quickstart shows. */
import { type RequestRecord, summaryOf } from '../../router/index.ts';
import { askAdmin } from '../target.ts';
import type { Trace } from './result.ts';

/** Null while the router does not know the request, or how it ended. @throws when the router does not answer */
export async function readTrace(adminUrl: string, requestId: string): Promise<Trace | null> {
  const answer = await askAdmin(adminUrl, `/admin/requests/${encodeURIComponent(requestId)}`);
  if (answer.ok) return traceOf(answer.json as RequestRecord);
  if (answer.status === 404) return null;
  throw new Error(answer.message);
}

function traceOf(record: RequestRecord): Trace | null {
  if (record.outcome === null) return null;
  const { prefill, decode, why, aside, reusedTokens, handOff } = summaryOf(record);
  return {
    prefill,
    decode,
    why: [why, ...aside.map((one) => `${one.instance} was no choice: ${one.why}`)].join('; '),
    promptTokens: record.promptTokens,
    reusedTokens,
    handOff: handOff && { ...handOff, ms: handOff.ms === null ? null : Math.round(handOff.ms * 100) / 100 },
  };
}
