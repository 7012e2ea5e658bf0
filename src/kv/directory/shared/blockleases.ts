import type { Clock } from '../../../shared/index.ts';
import { MAX_LEASES_PER_BLOCK } from './bounds.ts';
import type { BlockLease, Life } from './port.ts';

/** Lease id → when it ends. */
type Ends = Map<string, number>;

/** Which blocks of which incarnation are leased until when. */
export class BlockLeases {
  readonly #clock: Clock;
  readonly #byLife = new Map<string, Map<string, Ends>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Blocks that are noted as leased. */
  get size(): number {
    return [...this.#byLife.values()].reduce((sum, blocks) => sum + blocks.size, 0);
  }

  isLeased(life: Life, key: string): boolean {
    const ends = this.#byLife.get(nameOf(life))?.get(key);
    return ends !== undefined && [...ends.values()].some((until) => until > this.#clock.now());
  }

  /** False, and nothing leased, when a block is under too many leases. */
  add(lease: BlockLease, ttlMs: number): boolean {
    const now = this.#clock.now();
    const name = nameOf(lease);
    const blocks = this.#byLife.get(name) ?? new Map<string, Ends>();
    for (const key of lease.keys) {
      const ends = blocks.get(key);
      for (const [id, until] of ends ?? []) if (until <= now) ends?.delete(id);
      if (ends && ends.size >= MAX_LEASES_PER_BLOCK) return false;
    }
    for (const key of lease.keys) blocks.set(key, (blocks.get(key) ?? new Map<string, number>()).set(lease.id, now + ttlMs));
    this.#byLife.set(name, blocks);
    return true;
  }

  /** False when none of the blocks is under the lease any more. */
  renew(lease: BlockLease, ttlMs: number): boolean {
    const now = this.#clock.now();
    let renewed = false;
    for (const ends of this.#endsOf(lease)) {
      if ((ends.get(lease.id) ?? 0) <= now) continue;
      ends.set(lease.id, now + ttlMs);
      renewed = true;
    }
    return renewed;
  }

  /** True when the lease was alive. */
  release(lease: BlockLease): boolean {
    const now = this.#clock.now();
    let wasAlive = false;
    for (const ends of this.#endsOf(lease)) {
      wasAlive ||= (ends.get(lease.id) ?? 0) > now;
      ends.delete(lease.id);
    }
    const blocks = this.#byLife.get(nameOf(lease));
    for (const key of lease.keys) if (blocks?.get(key)?.size === 0) blocks.delete(key);
    if (blocks?.size === 0) this.#byLife.delete(nameOf(lease));
    return wasAlive;
  }

  /** Lets go of leases that nobody released and whose time is over. */
  dropEnded(): void {
    const now = this.#clock.now();
    for (const [name, blocks] of this.#byLife) {
      for (const [key, ends] of blocks) {
        for (const [id, until] of ends) if (until <= now) ends.delete(id);
        if (ends.size === 0) blocks.delete(key);
      }
      if (blocks.size === 0) this.#byLife.delete(name);
    }
  }

  /** The block is held no longer. */
  forget(life: Life, key: string): void {
    this.#byLife.get(nameOf(life))?.delete(key);
  }

  drop(life: Life): void {
    this.#byLife.delete(nameOf(life));
  }

  #endsOf(lease: BlockLease): Ends[] {
    const blocks = this.#byLife.get(nameOf(lease));
    return lease.keys.flatMap((key) => blocks?.get(key) ?? []);
  }
}

function nameOf({ instance, incarnation }: Life): string {
  return `${instance}/${incarnation}`;
}
