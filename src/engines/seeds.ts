import { chainSeed, type KvIdentity } from '../kv/index.ts';

const SALTS_KEPT = 1024;

/** Chain seeds by tenant salt: a SHA-256 each, so they are kept, but not without bound. */
export class ChainSeeds {
  readonly #identity: KvIdentity;
  readonly #seeds = new Map<string, Uint32Array>();

  constructor(identity: KvIdentity) {
    this.#identity = identity;
  }

  of(salt: string): Uint32Array {
    const known = this.#seeds.get(salt);
    if (known) return known;
    if (this.#seeds.size >= SALTS_KEPT) this.#seeds.clear();
    const seed = chainSeed(this.#identity, salt);
    this.#seeds.set(salt, seed);
    return seed;
  }
}
