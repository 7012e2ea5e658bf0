/** What the commands of `sluice kv` have in common: flags, the router that they ask, and how they fail. */
import type { Context } from '../context.ts';
import { parseFlags } from '../flags.ts';
import { type AdminAnswer, askAdmin, findTarget, TARGET_FLAGS, TARGET_HELP } from '../target.ts';
import { type Paint, terminalOn } from '../terminal.ts';

export const FLAGS_HELP = `${TARGET_HELP}
  --json            as JSON
  --help            this text`;

export interface Asking {
  /** Name in messages, such as `kv stat`. */
  readonly name: string;
  readonly help: string;
  /** Plain words that it takes at most. */
  readonly words: number;
  /** What is asked of the router's admin address; text = a mistake of the user. */
  readonly question: (words: readonly string[]) => Question | string;
  /** The answer for people. */
  readonly lines: (json: unknown, look: { readonly name: string; readonly paint: Paint }) => readonly string[];
  /** Exit code by what was found. Default 0. */
  readonly code?: (json: unknown) => number;
}

export interface Question {
  readonly path: string;
  readonly method?: 'POST';
  readonly withinMs?: number;
}

const FLAGS = { ...TARGET_FLAGS, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const;

export async function askAndShow(asking: Asking, argv: readonly string[], context: Context): Promise<number> {
  const refuse = (code: number, message: string) => {
    context.stderr.write(`sluice ${asking.name}: ${message}\n`);
    return code;
  };
  const parsed = parseFlags(argv, FLAGS, asking.words);
  if (!parsed.ok) return refuse(2, `${parsed.message}\nsluice ${asking.name} --help tells more.`);
  const { flags, words } = parsed;
  if (flags.help) {
    context.stdout.write(`${asking.help}\n`);
    return 0;
  }
  const question = asking.question(words);
  if (typeof question === 'string') return refuse(2, question);
  const target = findTarget(flags, context);
  if (!target.ok) return refuse(1, target.message);
  const { path, ...how } = question;
  const answer: AdminAnswer = await askAdmin(target.adminUrl, path, how);
  if (!answer.ok) return refuse(1, reasonOf(answer.message));
  const { paint } = terminalOn(context.stdout, context.env);
  const text = flags.json ? JSON.stringify(answer.json, null, 2) : asking.lines(answer.json, { name: target.name, paint }).join('\n');
  context.stdout.write(`${text}\n`);
  return asking.code?.(answer.json) ?? 0;
}

/** What the router itself says of a fault, without the JSON around it. */
function reasonOf(message: string): string {
  const start = message.indexOf('{');
  if (start < 0) return message;
  try {
    const body: unknown = JSON.parse(message.slice(start));
    const error = typeof body === 'object' && body !== null && 'error' in body ? body.error : null;
    return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : message;
  } catch {
    return message; // cut off, or not of a router
  }
}
