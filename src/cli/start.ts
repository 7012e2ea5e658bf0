/** `sluice start` (`npm start`): the first minute. Starts the pools, sends a short conversation through, shows what happened. */
import { join } from 'node:path';
import type { ServingDeployment } from '../api/index.ts';
import { systemClock } from '../shared/index.ts';
import type { Context } from './context.ts';
import { parseFlags } from './flags.ts';
import { readManifests, watchManifests } from './manifestfiles.ts';
import { Narrator } from './narration.ts';
import { verdict, whatNext } from './quickstart/print.ts';
import { type Quickstart, startQuickstart } from './quickstart/quickstart.ts';
import { documentOf, type QuickstartReport } from './quickstart/result.ts';
import { listenToSignals, type Signals } from './signals.ts';
import { type Terminal, terminalOn } from './terminal.ts';

const HELP = `Starts a prefill pool, a decode pool and the router on this machine, sends five requests through and shows, for each:
which pair of instances took it and why, time to first token, tokens per second, how much of the prompt was reused, how much KV was
handed over in how many milliseconds, and whether the text is that of one single engine. Then it goes on serving.

Usage: npm start -- [flags]        or: sluice start [flags]

  --once            end after the conversation: exit code 0 if everything was as it should be, else 1
  --json            print one JSON document on stdout and nothing else there
  -f, --file FILE   another ServingDeployment than manifests/samples/quickstart.yaml
  --keep-reference  keep the single engine that the texts are compared with

The model is a tiny one with random weights that Sluice writes itself, so the text means nothing; the KV is real.`;

const FLAGS = {
  once: { type: 'boolean' },
  json: { type: 'boolean' },
  file: { type: 'string', short: 'f' },
  'keep-reference': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

export async function startCommand(argv: readonly string[], context: Context): Promise<number> {
  const parsed = parseFlags(argv, FLAGS);
  if (!parsed.ok) {
    context.stderr.write(`sluice start: ${parsed.message}\nsluice start --help tells more.\n`);
    return 2;
  }
  const { flags } = parsed;
  if (flags.help) {
    context.stdout.write(`${HELP}\n`);
    return 0;
  }
  const file = flags.file ?? join(context.root, 'manifests/samples/quickstart.yaml');
  const manifests = readManifests([file]);
  const [deployment, second] = manifests.ok ? manifests.deployments : [];
  if (!manifests.ok || !deployment || second) {
    context.stderr.write(
      `${manifests.ok ? `${file}: one ServingDeployment is expected; run several with sluice up -f` : manifests.text}\n`,
    );
    return 1;
  }
  const terminal = terminalOn(flags.json ? context.stderr : context.stdout, context.env);
  const show = { once: flags.once, json: flags.json, keepReference: flags['keep-reference'], file, hash: manifests.hash };
  return new FirstMinute({ context, terminal, deployment, ...show }).run();
}

interface FirstMinuteOptions {
  readonly context: Context;
  readonly terminal: Terminal;
  readonly deployment: ServingDeployment;
  readonly once: boolean;
  readonly json: boolean;
  readonly keepReference: boolean;
  readonly file: string;
  /** Of the file as it was read. */
  readonly hash: string;
}

class FirstMinute {
  readonly #options: FirstMinuteOptions;
  readonly #signals: Signals = listenToSignals();
  readonly #quickstart: Quickstart;

  constructor(options: FirstMinuteOptions) {
    this.#options = options;
    const { terminal, context, deployment } = options;
    // Steps are told only after the conversation, when edits of the file make them.
    this.#quickstart = startQuickstart({ context, terminal, deployment, keepReference: options.keepReference });
  }

  async run(): Promise<number> {
    const { terminal, once } = this.#options;
    try {
      const outcome = await Promise.race([this.#quickstart.converse(), this.#signals.first.then(() => 'interrupted' as const)]);
      if (outcome === 'interrupted') return 130;
      if (typeof outcome === 'string') return this.#refuse(outcome);
      if (once) return await this.#finish(outcome);
      this.#tell(outcome);
      await this.#serveOn();
      return outcome.ok ? 0 : 1;
    } finally {
      terminal.settle();
      this.#signals.onFurther(() => this.#quickstart.kill());
      await this.#quickstart.close();
      this.#signals.stop();
    }
  }

  #refuse(why: string): number {
    this.#options.terminal.settle();
    this.#options.context.stderr.write(`${why}\n`);
    return 1;
  }

  /** With `--once` the verdict also counts what is left after everything ended. */
  async #finish(outcome: QuickstartReport): Promise<number> {
    const final = await this.#quickstart.leftAfterClose(outcome);
    this.#tell(final);
    return final.ok ? 0 : 1;
  }

  #tell(report: QuickstartReport): void {
    const { terminal, context, json } = this.#options;
    terminal.print();
    for (const line of verdict(report, terminal.paint)) terminal.print(line);
    if (json) context.stdout.write(`${documentOf(report)}\n`);
  }

  async #serveOn(): Promise<void> {
    const { terminal, deployment, file, hash } = this.#options;
    const { run, lastRequestId } = this.#quickstart;
    const readiness = await run.ready();
    if (!readiness.ok) return;
    terminal.print();
    for (const line of whatNext(readiness.addresses.url, deployment.spec.model.name, lastRequestId, terminal.paint)) terminal.print(line);
    const narrator = new Narrator(terminal, { steps: true });
    this.#quickstart.onRound((round) => narrator.tell(round));
    const stop = watchManifests([file], hash, systemClock, (changed) => {
      const next = changed.ok ? changed.deployments.find((one) => one.metadata.name === deployment.metadata.name) : null;
      if (next) run.update(next);
      else terminal.print(terminal.paint.red(changed.ok ? `${file}: ${deployment.metadata.name} is not in it any more` : changed.text));
    });
    await this.#signals.first;
    stop();
    terminal.print(terminal.paint.dim('ending: accepted requests finish first; Ctrl-C again ends at once'));
  }
}
