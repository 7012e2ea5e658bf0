/**
 * Hands out simulated memory for KV in groups of contiguous blocks, so that one copy moves many of them (the dynamic block groups of FastSwitch,
 * arXiv 2411.18424, section on memory; papers.md 4.2). An owner fills the blocks of its last group and gets another when that is full; idle
 * ends of groups are given to others when nothing else is free, so that no block is wasted while anybody wants it. Pure but for its own memory.
 *
 * Invariants
 * - A block belongs to one owner or to none; free extents are sorted, apart from each other, and never empty.
 * - Taking fails only when fewer blocks are unused, idle ends counted, than are asked for; then nothing has changed.
 */
export interface Extent {
  readonly start: number;
  readonly length: number;
}

interface Group {
  readonly start: number;
  length: number;
  /** Leading blocks of it that hold something. Only the last group of an owner may be less than full. */
  used: number;
}

interface Holding {
  readonly groups: Group[];
  /** Blocks that hold something. */
  count: number;
}

export interface GroupAllocatorOptions {
  readonly blocks: number;
  /** Blocks of a new group where there is room. Default 60: about a thousand tokens of 16. */
  readonly preferred?: number;
}

const PREFERRED = 60;

export class GroupAllocator<Owner> {
  readonly blocks: number;
  readonly #preferred: number;
  readonly #owners = new Map<Owner, Holding>();
  #free: { start: number; length: number }[];
  #used = 0;

  /** @throws RangeError when an option is no whole number of 1 or more. */
  constructor({ blocks, preferred = PREFERRED }: GroupAllocatorOptions) {
    for (const [name, value] of Object.entries({ blocks, preferred })) {
      if (!(Number.isSafeInteger(value) && value >= 1)) throw new RangeError(`${name}: expected a whole number of 1 or more, got ${value}`);
    }
    this.blocks = blocks;
    this.#preferred = preferred;
    this.#free = [{ start: 0, length: blocks }];
  }

  /** Blocks that hold something. */
  get used(): number {
    return this.#used;
  }

  /** Blocks that an owner has. */
  count(owner: Owner): number {
    return this.#owners.get(owner)?.count ?? 0;
  }

  /** Where an owner's blocks are, in order. */
  extents(owner: Owner): Extent[] {
    return (this.#owners.get(owner)?.groups ?? []).flatMap(({ start, used }) => (used > 0 ? [{ start, length: used }] : []));
  }

  /** Gives an owner `count` blocks more, behind those that it has. */
  take(owner: Owner, count: number): boolean {
    if (this.#used + count > this.blocks) return false;
    const holding = this.#owners.get(owner) ?? { groups: [], count: 0 };
    this.#owners.set(owner, holding);
    const { groups } = holding;
    for (let left = count; left > 0; ) {
      const last = groups.at(-1);
      const room = last ? last.length - last.used : 0;
      if (last && room > 0) {
        const taken = Math.min(room, left);
        last.used += taken;
        left -= taken;
      } else this.#grow(groups, left);
    }
    holding.count += count;
    this.#used += count;
    return true;
  }

  /** Takes all blocks after the first `keep` away. */
  truncate(owner: Owner, keep: number): void {
    const holding = this.#owners.get(owner);
    if (!holding) return;
    const { groups } = holding;
    for (let last = groups.at(-1); last && holding.count > keep; last = groups.at(-1)) {
      const gone = Math.min(last.used, holding.count - keep);
      last.used -= gone;
      holding.count -= gone;
      this.#used -= gone;
      if (last.used > 0) break;
      this.#giveBack({ start: last.start, length: last.length });
      groups.pop();
    }
    if (groups.length === 0) this.#owners.delete(owner);
  }

  release(owner: Owner): void {
    this.truncate(owner, 0);
  }

  /** Lengthens the last group where the memory behind it is free, else adds a group. There is something free, or idle somewhere. */
  #grow(groups: Group[], wanted: number): void {
    const most = this.#free.reduce((length, one) => Math.max(length, one.length), 0);
    if (most < wanted) this.#reclaim(most);
    const size = Math.max(wanted, this.#preferred);
    const last = groups.at(-1);
    const behind = last ? this.#free.find(({ start }) => start === last.start + last.length) : undefined;
    if (last && behind) {
      last.length += this.#cut(behind, size);
      return;
    }
    const fits = this.#free.filter(({ length }) => length >= size);
    const best = fits.length > 0 ? fits.reduce(smaller) : this.#free.reduce(larger);
    const { start } = best;
    groups.push({ start, length: this.#cut(best, size), used: 0 });
  }

  /** Takes the start of a free extent; how many blocks. */
  #cut(extent: { start: number; length: number }, size: number): number {
    const length = Math.min(size, extent.length);
    extent.start += length;
    extent.length -= length;
    if (extent.length === 0) this.#free = this.#free.filter((one) => one !== extent);
    return length;
  }

  /** The longest idle end of a group becomes free, if it is longer than what is free. */
  #reclaim(longerThan: number): void {
    let longest: Group | null = null;
    for (const { groups } of this.#owners.values()) {
      const last = groups.at(-1);
      if (last && last.length > last.used && (longest === null || last.length - last.used > longest.length - longest.used)) longest = last;
    }
    const idle = longest === null ? 0 : longest.length - longest.used;
    if (longest === null || idle <= longerThan) {
      if (longerThan > 0) return;
      throw new Error('no block is free although fewer are used than there are');
    }
    const end = { start: longest.start + longest.used, length: longest.length - longest.used };
    longest.length = longest.used;
    this.#giveBack(end);
  }

  #giveBack(extent: Extent): void {
    const at = this.#free.findIndex(({ start }) => start > extent.start);
    const index = at < 0 ? this.#free.length : at;
    this.#free.splice(index, 0, { ...extent });
    this.#merge(index);
    if (index > 0) this.#merge(index - 1);
  }

  /** With the extent behind it, when they touch. */
  #merge(index: number): void {
    const [one, next] = [this.#free[index], this.#free[index + 1]];
    if (!one || !next || one.start + one.length !== next.start) return;
    one.length += next.length;
    this.#free.splice(index + 1, 1);
  }
}

function smaller<E extends Extent>(a: E, b: E): E {
  return b.length < a.length ? b : a;
}

function larger<E extends Extent>(a: E, b: E): E {
  return b.length > a.length ? b : a;
}

/**
 * Copies that move blocks `from` to before `to` of a chain from where it is in one memory to where it is in another: one for every run that is
 * contiguous in both.
 */
export function copiesBetween(source: readonly Extent[], target: readonly Extent[], { from, to }: { from: number; to: number }): number {
  if (to <= from) return 0;
  const breaks = new Set<number>();
  for (const extents of [source, target]) {
    let at = 0;
    for (const { length } of extents) {
      at += length;
      if (at > from && at < to) breaks.add(at);
    }
  }
  return breaks.size + 1;
}
