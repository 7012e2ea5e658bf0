/** Clients that ask without a pause and compare every answer with the one that was given when nothing was disturbed. */
import { until } from '../bed.ts';
import type { Tenant } from './tenant.ts';

export interface LoadOptions {
  readonly deployment: string;
  readonly model: string;
  readonly clients: number;
  readonly tokens: number;
}

export interface Outcome {
  readonly streams: number;
  /** One line for each stream that failed or said something else. */
  readonly failures: readonly string[];
}

/** Of different length, so that they are in different places when something happens. */
const PROMPTS = [4, 9, 15, 22, 28, 35].map((times, index) => `${index}: the quick brown fox jumps over the lazy dog. `.repeat(times));

export class Load {
  readonly #tenant: Tenant;
  readonly #options: LoadOptions;
  readonly #expected: ReadonlyMap<string, string>;

  private constructor(tenant: Tenant, options: LoadOptions, expected: ReadonlyMap<string, string>) {
    this.#tenant = tenant;
    this.#options = options;
    this.#expected = expected;
  }

  /** Asks everything once, one after the other: what is to be said. */
  static async prepare(tenant: Tenant, options: LoadOptions): Promise<Load> {
    const { deployment, model, tokens } = options;
    const expected = new Map<string, string>();
    for (const prompt of PROMPTS) expected.set(prompt, (await tenant.ask(deployment, { model, prompt, tokens })).text);
    return new Load(tenant, options, expected);
  }

  /** Keeps the clients asking while `disturb` runs, which gets how many streams have ended so far. */
  async during(disturb: (ended: () => number) => Promise<void>): Promise<Outcome> {
    const failures: string[] = [];
    let streams = 0;
    let over = false;
    const client = async (number: number) => {
      for (let turn = number; !over; turn += 1) {
        const failure = await this.#failureOf(PROMPTS[turn % PROMPTS.length] ?? '');
        streams += 1;
        if (failure !== null) failures.push(failure);
      }
    };
    const clients = Array.from({ length: this.#options.clients }, (_, number) => client(number));
    try {
      const { clients: count } = this.#options;
      await until(
        () => streams >= count,
        () => `no stream has ended: ${failures.join('\n')}`,
        120_000,
      );
      await disturb(() => streams);
    } finally {
      over = true;
      await Promise.all(clients);
    }
    return { streams, failures };
  }

  async #failureOf(prompt: string): Promise<string | null> {
    const { deployment, model, tokens } = this.#options;
    try {
      const { id, text } = await this.#tenant.ask(deployment, { model, prompt, tokens });
      const expected = this.#expected.get(prompt) ?? '';
      if (text === expected) return null;
      let same = 0;
      while (same < text.length && text[same] === expected[same]) same += 1;
      return `${id} said something else from character ${same} of ${expected.length} on`;
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
      return `${String(error)}${cause}`;
    }
  }
}
