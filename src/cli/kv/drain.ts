/** `sluice kv drain`: an instance's streams go to others while they decode. */
import type { DrainOutcome } from '../../router/index.ts';
import type { Context } from '../context.ts';
import { parseFlags } from '../flags.ts';
import { askAdmin, findTarget, TARGET_FLAGS, TARGET_HELP } from '../target.ts';

const HELP = `Moves every stream that an instance decodes to another instance, unbroken, and places no new request there while another instance is well.
The instance itself runs on, and stays so until it is stopped, started anew, or taken back with --undo.

Usage: sluice kv drain <instance> [--timeout SECONDS] [--undo] [--name NAME | --router URL] [--json]

  --timeout SECONDS how long to try, 1 to 3600 (default 60); what could not be moved by then stays and goes on
  --undo            new requests may be placed there again; a drain that is under way ends
${TARGET_HELP}
  --json            as JSON

Answers that are no streams are not moved but waited for. Streams of vLLM are computed again by the other instance. One router is asked:
it has the instance tell all routers, each of which moves its own streams, and waits until nothing of any of them is left.

Exit code 3 when something is left, or the instance ended meanwhile. Example: sluice kv drain decode-0`;

const FLAGS = {
  ...TARGET_FLAGS,
  timeout: { type: 'string' },
  undo: { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;
const DEFAULT_SECONDS = 60;
const LEFT = 3;
/** For the answer to come once the time is over. */
const ANSWER_MS = 5_000;

export async function drainCommand(argv: readonly string[], context: Context): Promise<number> {
  const refuse = (code: number, message: string) => {
    context.stderr.write(`sluice kv drain: ${message}\n`);
    return code;
  };
  const parsed = parseFlags(argv, FLAGS, 1);
  if (!parsed.ok) return refuse(2, `${parsed.message}\nsluice kv drain --help tells more.`);
  const { flags, words } = parsed;
  if (flags.help) {
    context.stdout.write(`${HELP}\n`);
    return 0;
  }
  const [instance] = words;
  if (instance === undefined) return refuse(2, 'which instance? Give its id: sluice kv drain <instance>; sluice top shows them');
  const seconds = flags.timeout === null ? DEFAULT_SECONDS : Number(flags.timeout);
  if (!(seconds >= 1 && seconds <= 3600)) return refuse(2, `--timeout must be a number of seconds from 1 to 3600; got "${flags.timeout}"`);
  const target = findTarget(flags, context);
  if (!target.ok) return refuse(1, target.message);
  const path = `/admin/instances/${encodeURIComponent(instance)}`;
  if (flags.undo) {
    const answer = await askAdmin(target.adminUrl, `${path}/undrain`, { method: 'POST' });
    if (!answer.ok) return refuse(1, answer.message);
    context.stdout.write(`${instance} takes new requests again\n`);
    return 0;
  }
  const timeoutMs = Math.round(seconds * 1000);
  const how = { method: 'POST', withinMs: timeoutMs + ANSWER_MS } as const;
  const answer = await askAdmin(target.adminUrl, `${path}/drain?timeoutMs=${timeoutMs}`, how);
  if (!answer.ok) return refuse(1, answer.message);
  const outcome = answer.json as DrainOutcome;
  context.stdout.write(flags.json ? `${JSON.stringify(outcome, null, 2)}\n` : `${drainLines(outcome).join('\n')}\n`);
  return outcome.left === 0 ? 0 : LEFT;
}

/** For people. */
export function drainLines({ instance, moved, recomputed, aborted, others, left, ms }: DrainOutcome): string[] {
  const streams = (count: number) => (count === 1 ? '1 stream' : `${count} streams`);
  const lines = [`${instance}: ${streams(moved)} moved in ${(ms / 1000).toFixed(1)} s`];
  if (others > 0) lines.push(`requests of other routers that were on it, which those see to: ${others}`);
  if (recomputed > 0) lines.push(`${streams(recomputed)} computed again elsewhere: the engine does not offer blocks of a running request`);
  const tries = Object.entries(aborted).map(([reason, count]) => `${count} ${reason}`);
  if (tries.length > 0) lines.push(`moves that were given up and tried again: ${tries.join(', ')}`);
  if (left === null) lines.push('it ended meanwhile, or does not say any more what is left on it');
  else if (left > 0) lines.push(`${left} still there: no place elsewhere, no stream, or not begun; sluice explain <request-id> tells`);
  else lines.push('nothing is left on it');
  return lines;
}
