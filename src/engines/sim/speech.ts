/**
 * What a simulated model generates. The token at a position depends on the prompt, the tokens generated before it, the seed and the
 * position alone, so another instance goes on with the same tokens. Pure.
 */
import type { Sampling, TokenLogprobs } from '../port.ts';
import { END_TOKEN, WORD_TOKENS } from './tokenizer.ts';

/** An answer may end by itself from here on, at each position with a chance of 1 in `END_EVERY`. */
const END_FROM = 128;
const END_EVERY = 256;
/** No token id. */
const GARBLED = -1;

function mix(state: number, value: number): number {
  let mixed = Math.imul(state ^ value, 0x9e3779b1);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x85ebca77);
  return (mixed ^ (mixed >>> 13)) | 0;
}

export interface SpeechSampling extends Sampling {
  /** The answer does not end by itself before so many tokens. Default 0. */
  readonly minTokens?: number;
}

export class Speech {
  readonly #sampling: SpeechSampling;
  /** Digest of the prompt and of all tokens said so far. */
  #state: number;
  #position = 0;

  constructor(prompt: Int32Array, sampling: SpeechSampling) {
    this.#sampling = sampling;
    let state = prompt.length;
    for (const token of prompt) state = mix(state, token);
    this.#state = state;
  }

  /** Takes a token that was already said. */
  hear(token: number): void {
    this.#state = mix(this.#state, token);
    this.#position += 1;
  }

  /** What it says from now on has nothing to do with the prompt. */
  garble(): void {
    this.#state = mix(this.#state, GARBLED);
  }

  /** The next token, taken as said. */
  next(): number {
    const token = this.#choose(0);
    this.hear(token);
    return token;
  }

  /** Made-up scores of the token that `next` is going to give: it comes first, the others are less likely. */
  scores(): TokenLogprobs | null {
    const { logprobs } = this.#sampling;
    if (logprobs === null) return null;
    const top = Array.from({ length: logprobs }, (_, rank) => ({ token: this.#choose(rank), logprob: this.#logprob(rank) }));
    return { logprob: this.#logprob(0), top };
  }

  #logprob(rank: number): number {
    return -(rank + 0.25 + ((this.#state >>> 8) & 0xff) / 1024);
  }

  #choose(rank: number): number {
    const { temperature, seed, ignoreEos, minTokens = 0 } = this.#sampling;
    const random = mix(mix(this.#state, temperature === 0 ? 0 : seed), this.#position) >>> 0;
    const ends = !ignoreEos && this.#position >= Math.max(END_FROM, minTokens) && random % END_EVERY === 0;
    if (ends && rank === 0) return END_TOKEN;
    return WORD_TOKENS[((random >>> 8) + rank) % WORD_TOKENS.length] ?? END_TOKEN;
  }
}
