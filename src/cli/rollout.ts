/** `sluice rollout`: looks after the roll of a ServingDeployment. */

import { nearestName } from '../api/facts/index.ts';
import { durationMs } from '../api/index.ts';
import type { Context } from './context.ts';
import { type FlagDefinition, parseFlags } from './flags.ts';
import { ACCESS_FLAGS, type AccessFlags, type Cluster, explainFailure, nameOf, openCluster } from './rollout/access.ts';
import { diffAgainstCluster, diffAgainstFile, readWritten } from './rollout/diff.ts';
import { HELP, VERB_HELP, VERBS, type Verb } from './rollout/help.ts';
import { rolloutHistory, rolloutUndo } from './rollout/history.ts';
import { rolloutPause, rolloutResume } from './rollout/pause.ts';
import { rolloutStatus } from './rollout/status.ts';

/** Of `diff`, 1 means that there is a difference. */
const FAILED = { usual: 1, diff: 2 } as const;
const USAGE_ERROR = 2;

const FLAGS = {
  ...ACCESS_FLAGS,
  'no-wait': { type: 'boolean' },
  timeout: { type: 'string' },
  file: { type: 'string', short: 'f', multiple: true },
  from: { type: 'string' },
  'to-revision': { type: 'string' },
  'dry-run': { type: 'boolean' },
} as const satisfies Record<string, FlagDefinition>;

const BELONGS_TO: Readonly<Record<string, Verb>> = {
  'no-wait': 'status',
  timeout: 'status',
  file: 'diff',
  from: 'diff',
  'to-revision': 'undo',
  'dry-run': 'undo',
};

const DEFAULT_TIMEOUT = '30m';

export async function rolloutCommand(argv: readonly string[], context: Context): Promise<number> {
  const [word, ...rest] = argv;
  if (word === undefined || word === '--help' || word === '-h') {
    (word === undefined ? context.stderr : context.stdout).write(HELP);
    return word === undefined ? USAGE_ERROR : 0;
  }
  const verb = (Object.keys(VERBS) as Verb[]).find((one) => one === word);
  if (verb === undefined) {
    const near = nearestName(word, Object.keys(VERBS));
    const hint = near === null ? `There is: ${Object.keys(VERBS).join(', ')}.` : `Did you mean: sluice rollout ${near}`;
    return refuse(context, `there is no "${word}".\n${hint}`);
  }
  const parsed = parseFlags(rest, FLAGS, verb === 'diff' ? 0 : 1);
  if (!parsed.ok) return refuse(context, `${parsed.message}\nsluice rollout ${verb} --help tells more.`);
  const { flags, words } = parsed;
  if (flags.help) {
    context.stdout.write(VERB_HELP[verb]);
    return 0;
  }
  const asked = read(verb, flags, words);
  if ('wrong' in asked) return refuse(context, `${asked.wrong}\nsluice rollout ${verb} --help tells more.`);
  try {
    return await run(asked, flags, context);
  } catch (thrown) {
    const text = explainFailure(thrown);
    if (text === null) throw thrown;
    context.stderr.write(`sluice rollout ${verb}: ${text}\n`);
    return verb === 'diff' ? FAILED.diff : FAILED.usual;
  }
}

type Asked =
  | { readonly verb: 'status'; readonly name: string; readonly wait: boolean; readonly timeoutMs: number }
  | { readonly verb: 'history' | 'pause' | 'resume'; readonly name: string }
  | { readonly verb: 'diff'; readonly files: readonly string[]; readonly from: string | null }
  | { readonly verb: 'undo'; readonly name: string; readonly toRevision: number | null; readonly dryRun: boolean };

type Given = AccessFlags & {
  readonly 'no-wait': boolean;
  readonly timeout: string | null;
  readonly file: readonly string[];
  readonly from: string | null;
  readonly 'to-revision': string | null;
  readonly 'dry-run': boolean;
};

function read(verb: Verb, flags: Given, [word]: readonly string[]): Asked | { readonly wrong: string } {
  for (const [flag, owner] of Object.entries(BELONGS_TO)) {
    const value: unknown = Reflect.get(flags, flag);
    const given = Array.isArray(value) ? value.length > 0 : value !== null && value !== false;
    if (given && owner !== verb) return { wrong: `--${flag} belongs to sluice rollout ${owner}, not to ${verb}` };
  }
  if (verb === 'diff') {
    if (flags.file.length === 0) return { wrong: 'which manifest? Give it with -f FILE' };
    return { verb, files: flags.file, from: flags.from };
  }
  if (word === undefined) return { wrong: `which deployment? Give its name: sluice rollout ${verb} NAME` };
  const name = nameOf(word);
  switch (verb) {
    case 'status': {
      const timeoutMs = durationMs(flags.timeout ?? DEFAULT_TIMEOUT);
      if (timeoutMs === null) return { wrong: `--timeout must be a duration with its unit, such as 90s or 10m; got "${flags.timeout}"` };
      return { verb, name, wait: !flags['no-wait'], timeoutMs };
    }
    case 'undo': {
      const text = flags['to-revision'];
      if (text !== null && !/^[1-9]\d{0,8}$/.test(text))
        return { wrong: `--to-revision must be the number of a revision, such as 3; got "${text}"` };
      return { verb, name, toRevision: text === null ? null : Number(text), dryRun: flags['dry-run'] };
    }
    case 'history':
    case 'pause':
    case 'resume':
      return { verb, name };
  }
}

async function run(asked: Asked, access: AccessFlags, context: Context): Promise<number> {
  const print = (line: string) => void context.stdout.write(`${line}\n`);
  if (asked.verb === 'diff' && asked.from !== null) {
    return diffAgainstFile(readWritten([asked.from]), readWritten(asked.files), print) ? 1 : 0;
  }
  // A mistake in a file is told before a cluster is asked.
  const written = asked.verb === 'diff' ? readWritten(asked.files) : null;
  const cluster = await openCluster(access, context);
  try {
    if (asked.verb !== 'diff') return await runOn(cluster, asked, print);
    return written !== null && (await diffAgainstCluster(cluster, written, print)) ? 1 : 0;
  } finally {
    cluster.close();
  }
}

function runOn(cluster: Cluster, asked: Exclude<Asked, { readonly verb: 'diff' }>, print: (line: string) => void): Promise<number> {
  switch (asked.verb) {
    case 'status':
      return rolloutStatus(cluster, asked.name, { wait: asked.wait, timeoutMs: asked.timeoutMs, print });
    case 'history':
      return rolloutHistory(cluster, asked.name, print);
    case 'undo':
      return rolloutUndo(cluster, asked.name, { toRevision: asked.toRevision, dryRun: asked.dryRun, print });
    case 'pause':
      return rolloutPause(cluster, asked.name, print);
    case 'resume':
      return rolloutResume(cluster, asked.name, print);
  }
}

function refuse(context: Context, message: string): number {
  context.stderr.write(`sluice rollout: ${message}\n`);
  return USAGE_ERROR;
}
