/** A pair of vLLM under contract, and how its tests ask it. */
import { COMPLETIONS, type Json, KEEP, VllmClient } from './vllm-client.ts';

export interface VllmPair {
  readonly prefillUrl: string;
  readonly decodeUrl: string;
  /** A port of this machine where nobody listens. */
  readonly deadPort: number;
  /** How long the first contact to another engine may take; later than half of it nothing else is. */
  readonly contactMs: number;
  readonly leaseMs: number;
  /** As kill -9 does. */
  killPrefill(): Promise<void>;
  close(): Promise<void>;
}

/** A multiple of every block size that is used. */
export const BLOCK = 32;
export const GREEDY = { temperature: 0, ignore_eos: true };

export class VllmBed {
  #running: { readonly pair: VllmPair; readonly P: VllmClient; readonly D: VllmClient } | null = null;
  #prompts = 0;

  async take(pair: VllmPair): Promise<void> {
    const P = new VllmClient(pair.prefillUrl);
    const D = new VllmClient(pair.decodeUrl);
    this.#running = { pair, P, D };
    await Promise.all([P.learnModel(), D.learnModel()]);
  }

  get pair(): VllmPair {
    return this.#started.pair;
  }

  /** The one that prefills. */
  get P(): VllmClient {
    return this.#started.P;
  }

  /** The one that decodes. */
  get D(): VllmClient {
    return this.#started.D;
  }

  get #started() {
    if (this.#running === null) throw new Error('the pair did not start');
    return this.#running;
  }

  /** Small letters in an order that no other prompt has. */
  promptOf(tokens: number): number[] {
    this.#prompts += 1;
    const salt = this.#prompts;
    return Array.from({ length: tokens }, (_, index) => 97 + ((index * (7 + salt) + salt * salt * 11) % 26));
  }

  /** The params of a prefill leg. */
  async leg(prompt: number[]): Promise<Json> {
    const answer = await this.P.whole(COMPLETIONS, { prompt, max_tokens: 1, ...GREEDY, kv_transfer_params: KEEP });
    return answer.kv_transfer_params ?? {};
  }
}
