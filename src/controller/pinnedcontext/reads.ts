/** What the instances of a deployment say of their pins, asked once for all its contexts that want to know at about the same time. */
import { type PinningInstance, readPins } from '../../platform/index.ts';
import type { Clock } from '../../shared/index.ts';

/** Milliseconds that an answer serves others: less than the shortest time between two rounds over one context. */
const FRESH_MS = 400;
export const READ_MS = 4_000;

export interface PinAnswer {
  /** Of the router that answered; null = none did. */
  readonly url: string | null;
  readonly instances: readonly PinningInstance[];
}

interface Asked {
  readonly answer: Promise<PinAnswer>;
  /** Null = under way. */
  answeredAt: number | null;
}

/** A deployment with hundreds of contexts would have its routers ask all their instances hundreds of times in ten seconds. */
export class PinReads {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #read: typeof readPins;
  readonly #asked = new Map<string, Asked>();

  constructor(clock: Pick<Clock, 'now'>, read: typeof readPins = readPins) {
    this.#clock = clock;
    this.#read = read;
  }

  /**
   * @param place of the deployment, such as `namespace/name`
   * @param adminUrls of its routers; the first that answers is asked, they have the same instances
   */
  of(place: string, adminUrls: readonly string[]): Promise<PinAnswer> {
    this.#forgetOld();
    const known = this.#asked.get(place);
    if (known !== undefined) return known.answer;
    const asked: Asked = { answer: this.#firstAnswer(adminUrls).finally(() => (asked.answeredAt = this.#clock.now())), answeredAt: null };
    this.#asked.set(place, asked);
    return asked.answer;
  }

  /** Something is different there: whoever asks from now on is told anew. */
  forget(place: string): void {
    this.#asked.delete(place);
  }

  #forgetOld(): void {
    const now = this.#clock.now();
    for (const [place, { answeredAt }] of this.#asked) if (answeredAt !== null && now > answeredAt + FRESH_MS) this.#asked.delete(place);
  }

  async #firstAnswer(adminUrls: readonly string[]): Promise<PinAnswer> {
    for (const url of adminUrls) {
      const instances = await this.#read(url, READ_MS);
      if (instances !== null) return { url, instances };
    }
    return { url: null, instances: [] };
  }
}
