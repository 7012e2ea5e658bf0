/** What a run tells while it changes: one line per step worth knowing, and the state in one phrase. */
import type { Round, Status } from '../controller/index.ts';
import type { Step } from '../platform/index.ts';
import { type Paint, PLAIN, type Terminal } from './terminal.ts';

/** Null for a step that only follows from others. */
export function stepLine(step: Step, paint: Paint): string | null {
  const line = (name: string, verb: string) => `${paint.cyan(name)} ${verb} ${paint.dim(`(${step.reason})`)}`;
  switch (step.type) {
    case 'startInstance':
    case 'startRouter':
      return line(step.name, 'starts');
    case 'restartInstance':
    case 'restartRouter':
      return line(step.name, 'starts again');
    case 'drainInstance':
      return line(step.name, 'drains');
    case 'stopInstance':
    case 'stopRouter':
      return line(step.name, 'ends');
    case 'publishInstances':
      return null;
  }
}

/** `prefill 1/1  decode 1/2  router up`. */
export function statusPhrase(status: Status, paint: Paint): string {
  const roles = status.roles.map((role) => {
    const counts = `${role.ready}/${role.desired}`;
    const draining = role.draining > 0 ? paint.yellow(` −${role.draining}`) : '';
    return `${role.role} ${role.ready >= role.desired ? paint.green(counts) : paint.yellow(counts)}${draining}`;
  });
  const router = status.conditions.find((one) => one.type === 'RouterReady');
  const word = ROUTER_WORDS[router?.reason ?? ''] ?? router?.reason ?? 'unknown';
  return [...roles, `router ${router?.status ? paint.green(word) : paint.yellow(word)}`].join('  ');
}

const ROUTER_WORDS: Readonly<Record<string, string>> = {
  RouterMissing: 'to come',
  RouterStarting: 'starts',
  RouterFailing: 'failed',
  NoRequestYet: 'waits for instances',
  Serving: 'serves',
};

/** Prints steps and failures of rounds as they come; equal failures once. */
export class Narrator {
  readonly #terminal: Terminal;
  readonly #steps: boolean;
  /** Last told failure of each process and deployment. */
  readonly #failures = new Map<string, string>();
  #lastReady: boolean | null = null;

  constructor(terminal: Terminal, options: { readonly steps: boolean }) {
    this.#terminal = terminal;
    this.#steps = options.steps;
  }

  tell(round: Round): void {
    const { paint } = this.#terminal;
    for (const { step, outcome } of round.done) {
      const line = this.#steps ? stepLine(step, paint) : null;
      if (line !== null) this.#terminal.print(`${paint.dim(round.desired.name)} ${line}`);
      if (!outcome.ok) this.#tellFailure(round.desired.name, `${round.desired.name}: ${outcome.message}`);
    }
    for (const member of [...round.observed.instances, ...round.observed.routers]) {
      if (member.phase === 'failed') this.#tellFailure(member.name, `${member.name} ended: ${member.lastError ?? 'without a word'}`);
    }
    const ready = round.status.conditions.find((one) => one.type === 'Ready');
    const settled = round.status.conditions.find((one) => one.type === 'Reconciling')?.status === false;
    if (ready?.status && settled) {
      if (this.#lastReady === false) this.#terminal.print(`${paint.dim(round.desired.name)} ${paint.green('is as wanted again')}`);
      this.#lastReady = true;
      this.#terminal.settle();
    } else {
      if (this.#lastReady === true) this.#lastReady = false;
      const phrase = statusPhrase(round.status, paint);
      this.#terminal.live(`${paint.dim(round.desired.name)} ${phrase}`, `${round.desired.name}: ${statusPhrase(round.status, PLAIN)}`);
    }
  }

  #tellFailure(who: string, text: string): void {
    if (text === this.#failures.get(who)) return;
    this.#failures.set(who, text);
    this.#terminal.print(this.#terminal.paint.red(text));
  }
}
