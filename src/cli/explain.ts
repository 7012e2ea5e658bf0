/** `sluice explain`: the decision record of one request, as text. */
import { explainRecord, type RequestRecord } from '../router/index.ts';
import type { Context } from './context.ts';
import { parseFlags } from './flags.ts';
import { askAdmin, findTarget, TARGET_FLAGS, TARGET_HELP } from './target.ts';

const HELP = `Tells why a request went where it went: every pair of instances that was considered, each term of its price in milliseconds,
what was chosen, why the runner-up lost, and what then really happened beside what was predicted.

Usage: sluice explain <request-id> [--name NAME | --router URL] [--json]

${TARGET_HELP}
  --json            the whole record as JSON

The id of a request is in the answer's X-Request-Id header, and in the id of the completion. The router keeps the newest records.

Example: sluice explain quickstart-4`;

const FLAGS = { ...TARGET_FLAGS, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const;

export async function explainCommand(argv: readonly string[], context: Context): Promise<number> {
  const parsed = parseFlags(argv, FLAGS, 1);
  if (!parsed.ok) return refuse(context, 2, `${parsed.message}\nsluice explain --help tells more.`);
  const { flags, words } = parsed;
  if (flags.help) {
    context.stdout.write(`${HELP}\n`);
    return 0;
  }
  const [id] = words;
  if (id === undefined) return refuse(context, 2, 'which request? Give its id: sluice explain <request-id>');
  const target = findTarget(flags, context);
  if (!target.ok) return refuse(context, 1, target.message);
  const answer = await askAdmin(target.adminUrl, `/admin/requests/${encodeURIComponent(bareId(id))}`);
  if (!answer.ok && answer.status === 404) return refuse(context, 1, await unknownRequest(id, target.adminUrl));
  if (!answer.ok) return refuse(context, 1, answer.message);
  const record = answer.json as RequestRecord;
  context.stdout.write(flags.json ? `${JSON.stringify(record, null, 2)}\n` : `${explainRecord(record).trimEnd()}\n`);
  return 0;
}

/** The id of a completion is that of its request with a prefix. */
function bareId(id: string): string {
  return id.replace(/^(?:chatcmpl|cmpl)-/, '');
}

const SHOWN_IDS = 5;

async function unknownRequest(id: string, adminUrl: string): Promise<string> {
  const latest = await askAdmin(adminUrl, `/admin/requests?limit=${SHOWN_IDS}`);
  const ids = latest.ok ? idsOf(latest.json) : [];
  const hint = ids.length === 0 ? 'It has no request yet.' : `Its newest are: ${ids.join(', ')}`;
  return `the router has no record of "${id}": it never came, or newer ones took its place. ${hint}`;
}

function idsOf(json: unknown): string[] {
  const list: unknown = typeof json === 'object' && json !== null && 'requests' in json ? json.requests : json;
  if (!Array.isArray(list)) return [];
  return list.flatMap((record: unknown) => (typeof record === 'object' && record !== null && 'id' in record ? [String(record.id)] : []));
}

function refuse(context: Context, code: number, message: string): number {
  context.stderr.write(`sluice explain: ${message}\n`);
  return code;
}
