/** `sluice top`: the live table. */
import type { TopView } from '../router/index.ts';
import { sleep, systemClock } from '../shared/index.ts';
import type { Context } from './context.ts';
import { parseFlags } from './flags.ts';
import { listenToSignals } from './signals.ts';
import { askAdmin, findTarget, TARGET_FLAGS, TARGET_HELP } from './target.ts';
import { terminalOn } from './terminal.ts';
import { topLines } from './toptable.ts';

const HELP = `Shows the instances of a running deployment, every second: state, running and queued requests, KV in HBM, in host memory and in the store,
leases of hand-offs under way, the share of prompt tokens that needed no computing, and latencies of the last requests.

Usage: sluice top [--name NAME | --router URL] [--once] [--json]

${TARGET_HELP}
  --once            print it once; so it is also where no terminal is
  --json            print it once, as JSON

TTFT is the time to the first token, TPOT the time per token after it. "breaker open": the instance failed several times in a row and
gets no requests for a while.`;

const FLAGS = { ...TARGET_FLAGS, once: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const;
const EVERY_MS = 1_000;
/** Cursor home, and clear from there: nothing flickers. */
const TO_TOP = '\u001b[H\u001b[J';
const HIDDEN_SCREEN = { enter: '\u001b[?1049h\u001b[?25l', leave: '\u001b[?25h\u001b[?1049l' };

export async function topCommand(argv: readonly string[], context: Context): Promise<number> {
  const parsed = parseFlags(argv, FLAGS);
  if (!parsed.ok) return refuse(context, 2, `${parsed.message}\nsluice top --help tells more.`);
  const { flags } = parsed;
  if (flags.help) {
    context.stdout.write(`${HELP}\n`);
    return 0;
  }
  const target = findTarget(flags, context);
  if (!target.ok) return refuse(context, 1, target.message);
  const terminal = terminalOn(context.stdout, context.env);
  const look = () => askAdmin(target.adminUrl, '/admin/top');
  const first = await look();
  if (!first.ok) return refuse(context, 1, first.message);
  const lines = (json: unknown) => topLines(target.name, json as TopView, terminal.paint);
  if (flags.json) context.stdout.write(`${JSON.stringify(first.json, null, 2)}\n`);
  else if (flags.once || !terminal.interactive) context.stdout.write(`${lines(first.json).join('\n')}\n`);
  else await follow(context, look, lines);
  return 0;
}

async function follow(
  context: Context,
  look: () => ReturnType<typeof askAdmin>,
  lines: (json: unknown) => readonly string[],
): Promise<void> {
  const signals = listenToSignals();
  const stopped = new AbortController();
  void signals.first.then(() => stopped.abort());
  context.stdout.write(HIDDEN_SCREEN.enter);
  // Sleeping does not keep a process alive.
  const alive = setInterval(() => {}, EVERY_MS);
  try {
    while (!stopped.signal.aborted) {
      const answer = await look();
      const text = answer.ok ? lines(answer.json) : [answer.message, 'trying again'];
      context.stdout.write(`${TO_TOP}${[...text, '', 'Ctrl-C ends this view.'].join('\n')}\n`);
      await sleep(systemClock, EVERY_MS, stopped.signal);
    }
  } finally {
    clearInterval(alive);
    context.stdout.write(HIDDEN_SCREEN.leave);
    signals.stop();
  }
}

function refuse(context: Context, code: number, message: string): number {
  context.stderr.write(`sluice top: ${message}\n`);
  return code;
}
