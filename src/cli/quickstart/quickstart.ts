/** The quickstart's parts put together: the run, the single engine beside it, the conversation, and what is left of it. */
import type { ServingDeployment } from '../../api/index.ts';
import type { Round } from '../../controller/index.ts';
import { systemClock } from '../../shared/index.ts';
import { milliseconds } from '../amounts.ts';
import type { Context } from '../context.ts';
import { statusPhrase } from '../narration.ts';
import { type Addresses, type Run, startRun } from '../run.ts';
import { isAlive, runStates } from '../runstate.ts';
import type { Terminal } from '../terminal.ts';
import { converse } from './conversation.ts';
import { leasesOf, reservationsOf } from './leftovers.ts';
import { headline, requestLines } from './print.ts';
import { type Reference, startReference } from './reference.ts';
import { endedAsScripted, nothingLeft, type QuickstartReport } from './result.ts';
import { readTrace } from './trace.ts';

export interface QuickstartOptions {
  readonly context: Context;
  readonly terminal: Terminal;
  readonly deployment: ServingDeployment;
  readonly keepReference: boolean;
}

export function startQuickstart(options: QuickstartOptions): Quickstart {
  return new Quickstart(options);
}

export class Quickstart {
  readonly run: Run;
  lastRequestId = '';
  readonly #options: QuickstartOptions;
  readonly #reference: Reference;
  readonly #stopped = new AbortController();
  #listener: (round: Round) => void;
  #pids: number[] = [];
  #files = 0;
  #closing: Promise<void> | null = null;

  constructor(options: QuickstartOptions) {
    this.#options = options;
    this.#listener = (round) => this.#showProgress(round);
    const { deployment, context } = options;
    this.run = startRun({ deployment, context, onRound: (round) => this.#listener(round), onLine: () => {} });
    this.#reference = startReference(deployment, context);
    // Awaited in `converse`; a failure before that is not lost, only not yet told.
    this.#reference.url.catch(() => {});
  }

  onRound(listener: (round: Round) => void): void {
    this.#listener = listener;
  }

  /** @returns the report, or why it could not be made. */
  async converse(): Promise<QuickstartReport | string> {
    const readiness = await this.run.ready();
    if (!readiness.ok) return `${this.run.name} did not come up: ${readiness.why}`;
    const readyMs = Math.round(performance.now());
    try {
      const referenceUrl = await this.#reference.url;
      this.#notePids();
      this.#listener = () => {};
      this.#announce(readyMs, readiness.addresses.url);
      return await this.#ask(readyMs, readiness.addresses, referenceUrl);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      if (!this.#options.keepReference) await this.#closeReference();
    }
  }

  async #ask(readyMs: number, { url, adminUrl }: Addresses, referenceUrl: string): Promise<QuickstartReport> {
    const { terminal, deployment } = this.#options;
    let asScripted = true;
    const requests = await converse({
      name: this.run.name,
      model: deployment.spec.model.name,
      routerUrl: url,
      referenceUrl,
      clock: systemClock,
      trace: (requestId) => readTrace(adminUrl, requestId),
      onStart: (request) => terminal.live(terminal.paint.dim(`  ${request.name} …`), ''),
      onEnd: (request, report) => {
        asScripted &&= endedAsScripted(request, report) && report.equalsSingleEngine;
        this.lastRequestId = report.requestId;
        for (const line of requestLines(request, report, terminal.paint)) terminal.print(line);
      },
      signal: this.#stopped.signal,
    });
    const leases = await leasesOf(this.run.observed, systemClock);
    const reservations = await reservationsOf(adminUrl, systemClock);
    const leftovers = { leases, reservations, processes: 0, files: 0 };
    return { ok: asScripted && nothingLeft(leftovers), readyMs, requests, leftovers };
  }

  /** Ends everything and counts what outlived it. */
  async leftAfterClose(report: QuickstartReport): Promise<QuickstartReport> {
    await this.close();
    const processes = this.#pids.filter(isAlive).length;
    const states = runStates(this.#options.context.runtimeFolder).filter((state) => state.pid === process.pid).length;
    const leftovers = { ...report.leftovers, processes, files: this.#files + states };
    return { ...report, ok: report.ok && nothingLeft(leftovers), leftovers };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopped.abort();
    this.#notePids();
    const [{ files }] = await Promise.all([this.run.close(), this.#closeReference()]);
    this.#files += files;
  }

  kill(): void {
    this.run.kill();
  }

  async #closeReference(): Promise<void> {
    const { files } = await this.#reference.close();
    this.#files = files;
  }

  #notePids(): void {
    const running = [...this.run.processes(), ...this.#reference.processes()].map((process) => process.pid);
    this.#pids = [...new Set([...this.#pids, ...running])];
  }

  #showProgress(round: Round): void {
    const { terminal } = this.#options;
    const phrase = statusPhrase(round.status, terminal.paint);
    const elapsed = terminal.paint.dim(milliseconds(performance.now()));
    terminal.live(`  starting  ${phrase}  ${elapsed}`, `  starting  ${phrase}`);
  }

  #announce(readyMs: number, url: string): void {
    const { terminal, deployment } = this.#options;
    const { paint } = terminal;
    const engine = deployment.spec.engine.type === 'sim' ? 'simulated engines, no model is run' : 'llama.cpp on this CPU';
    const names = this.run.observed.instances.map((instance) => instance.name).join(', ');
    terminal.print(`${paint.bold('sluice')} serves ${paint.bold(deployment.spec.model.name)} (${engine}) at ${paint.bold(url)}`);
    terminal.print(
      paint.dim(`  ${names} and the router were ready after ${milliseconds(readyMs)}; one more engine stands by to compare with`),
    );
    terminal.print();
    terminal.print(headline(paint));
  }
}
