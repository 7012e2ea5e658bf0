/** `sluice up`: runs the ServingDeployments of files here, and follows their edits until it is told to end. */
import type { PinnedContext, ServingDeployment } from '../api/index.ts';
import type { Condition } from '../controller/index.ts';
import { systemClock } from '../shared/index.ts';
import type { Context } from './context.ts';
import { parseFlags } from './flags.ts';
import { type Manifests, readManifests, watchManifests } from './manifestfiles.ts';
import { Narrator } from './narration.ts';
import { type Readiness, type Run, startRun } from './run.ts';
import { listenToSignals, type Signals } from './signals.ts';
import { type Terminal, terminalOn } from './terminal.ts';

const HELP = `Runs the ServingDeployments of a file on this machine: engines and router as processes on loopback.

Usage: sluice up -f FILE [-f FILE …] [--once-ready] [--verbose]

  -f, --file FILE   manifest, YAML; may hold several ServingDeployments, the KVTiers that they name, and PinnedContexts
  --once-ready      end as soon as everything is ready: 0 if it became ready, else 1
  --verbose         show what engines and router write to stderr

While it runs, save the file to change things:
  spec.decode.replicas: 3     starts one more, or lets one go when its requests are done
  any other field             replaces instances one by one; no accepted stream is lost
An edit with a mistake is reported with its line, and what runs goes on.

Ctrl-C drains: accepted requests finish (30 s at most), then everything ends. A second Ctrl-C ends it at once.

Example: sluice up -f manifests/samples/quickstart.yaml`;

const FLAGS = {
  file: { type: 'string', short: 'f', multiple: true },
  'once-ready': { type: 'boolean' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

export async function upCommand(argv: readonly string[], context: Context): Promise<number> {
  const terminal = terminalOn(context.stdout, context.env);
  const parsed = parseFlags(argv, FLAGS);
  if (!parsed.ok) return usageError(context, `sluice up: ${parsed.message}`);
  const { flags } = parsed;
  if (flags.help) {
    terminal.print(HELP);
    return 0;
  }
  if (flags.file.length === 0) return usageError(context, 'sluice up: which file? Give it with -f FILE');
  const manifests = readManifests(flags.file);
  if (!manifests.ok) {
    context.stderr.write(`${manifests.text}\n`);
    return 1;
  }
  const signals = listenToSignals();
  const fleet = new Fleet(context, terminal, flags.verbose);
  try {
    return await serve({ fleet, signals, terminal, context, manifests, flags });
  } finally {
    signals.onFurther(() => fleet.kill());
    await fleet.close();
    signals.stop();
  }
}

interface Serving {
  readonly fleet: Fleet;
  readonly signals: Signals;
  readonly terminal: Terminal;
  readonly context: Context;
  readonly manifests: Manifests & { readonly ok: true };
  readonly flags: { readonly file: readonly string[]; readonly 'once-ready': boolean };
}

async function serve({ fleet, signals, terminal, context, manifests, flags }: Serving): Promise<number> {
  fleet.want(manifests);
  const stopWatching = watchManifests(flags.file, manifests.hash, systemClock, (changed) => applyEdit(changed, fleet, terminal));
  try {
    const ready = await Promise.race([fleet.ready(), signals.first.then(() => null)]);
    if (ready === null) return 0;
    const refused = ready.find((one) => !one.readiness.ok);
    if (refused && !refused.readiness.ok) {
      terminal.settle();
      context.stderr.write(`${refused.name} did not come up: ${refused.readiness.why}\n`);
      return 1;
    }
    if (flags['once-ready']) return 0;
    await signals.first;
    terminal.print(terminal.paint.dim('ending: accepted requests finish first; Ctrl-C again ends at once'));
    return 0;
  } finally {
    stopWatching();
  }
}

function applyEdit(changed: Manifests, fleet: Fleet, terminal: Terminal): void {
  if (changed.ok) {
    terminal.print(terminal.paint.dim('the file changed'));
    fleet.want(changed);
  } else {
    terminal.print(terminal.paint.red(changed.text));
    terminal.print('the edit was not applied; what ran before goes on');
  }
}

function usageError(context: Context, message: string): number {
  context.stderr.write(`${message}\nsluice up --help tells more.\n`);
  return 2;
}

interface NamedReadiness {
  readonly name: string;
  readonly readiness: Readiness;
}

/** The runs of all deployments that are wanted, by namespace and name. */
class Fleet {
  readonly #context: Context;
  readonly #terminal: Terminal;
  readonly #verbose: boolean;
  readonly #runs = new Map<string, Run>();
  readonly #leaving = new Set<Promise<unknown>>();
  /** Last told reason of each PinnedContext. */
  readonly #pinned = new Map<string, string>();

  constructor(context: Context, terminal: Terminal, verbose: boolean) {
    this.#context = context;
    this.#terminal = terminal;
    this.#verbose = verbose;
  }

  want({ deployments, contexts }: Pick<Manifests & { readonly ok: true }, 'deployments' | 'contexts'>): void {
    const wanted = new Map(deployments.map((deployment) => [`${deployment.metadata.namespace}/${deployment.metadata.name}`, deployment]));
    for (const [key, run] of this.#runs) {
      if (!wanted.has(key)) this.#letGo(key, run);
    }
    for (const [key, deployment] of wanted) {
      const run = this.#runs.get(key);
      if (run) run.update(deployment);
      else this.#runs.set(key, this.#start(deployment));
    }
    for (const [key, run] of this.#runs) run.pin(contexts.filter((one) => `${one.namespace}/${one.deployment}` === key));
  }

  #start(deployment: ServingDeployment): Run {
    const narrator = new Narrator(this.#terminal, { steps: true });
    const run = startRun({
      deployment,
      context: this.#context,
      onRound: (round) => narrator.tell(round),
      onLine: (member, line) => {
        if (this.#verbose) this.#context.stderr.write(`${member}: ${line}\n`);
      },
      onPinned: (pinned, ready) => this.#tellPinned(pinned, ready),
    });
    void run.ready().then((readiness) => this.#tellReadiness(run.name, readiness));
    return run;
  }

  /** Each news once: what is pinned, and why not. Not while a deployment comes up. */
  #tellPinned({ namespace, name }: PinnedContext, { status, reason, message }: Condition): void {
    const key = `${namespace}/${name}`;
    if (this.#pinned.get(key) === reason || (reason === 'RouterSilent' && !this.#pinned.has(key))) return;
    this.#pinned.set(key, reason);
    const { paint } = this.#terminal;
    const word = status ? paint.green('is pinned') : paint.yellow('is not pinned yet');
    this.#terminal.print(`${paint.bold(name)} ${word}: ${message}`);
  }

  #tellReadiness(name: string, readiness: Readiness): void {
    if (!readiness.ok) return;
    const { paint } = this.#terminal;
    this.#terminal.print(`${paint.bold(name)} ${paint.green('is ready')} at ${paint.bold(`${readiness.addresses.url}/v1`)}`);
  }

  #letGo(key: string, run: Run): void {
    this.#runs.delete(key);
    const leaving = run.close().finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  ready(): Promise<NamedReadiness[]> {
    return Promise.all([...this.#runs.values()].map(async (run) => ({ name: run.name, readiness: await run.ready() })));
  }

  async close(): Promise<void> {
    await Promise.all([...[...this.#runs.values()].map((run) => run.close()), ...this.#leaving]);
  }

  kill(): void {
    for (const run of this.#runs.values()) run.kill();
  }
}
