/**
 * Things that end at some time, soonest first: a binary heap. Whoever extends or ends a thing early leaves the entry where it is and
 * judges it when it comes up; `keep` drops entries that no longer matter.
 */
export class Deadlines<T> {
  #heap: { readonly at: number; readonly value: T }[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** Time of the soonest entry; Infinity when there is none. */
  get next(): number {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY;
  }

  add(at: number, value: T): void {
    const heap = this.#heap;
    const entry = { at, value };
    let hole = heap.length;
    heap.push(entry);
    while (hole > 0) {
      const above = (hole - 1) >> 1;
      const other = heap[above];
      if (!other || other.at <= at) break;
      heap[hole] = other;
      hole = above;
    }
    heap[hole] = entry;
  }

  /** Takes the soonest entry if its time has come; else undefined. */
  takeDue(now: number): T | undefined {
    return this.next <= now ? this.takeNext() : undefined;
  }

  /** Takes the soonest entry whether or not its time has come. */
  takeNext(): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first && last && heap.length > 0) this.#sink(last);
    return first?.value;
  }

  /** Keeps only the entries for which `matters` holds. */
  keep(matters: (value: T) => boolean): void {
    this.#heap = this.#heap.filter((entry) => matters(entry.value)).sort((a, b) => a.at - b.at);
  }

  clear(): void {
    this.#heap = [];
  }

  #sink(entry: { readonly at: number; readonly value: T }): void {
    const heap = this.#heap;
    let hole = 0;
    for (;;) {
      let below = hole * 2 + 1;
      let child = heap[below];
      if (!child) break;
      const right = heap[below + 1];
      if (right && right.at < child.at) {
        child = right;
        below += 1;
      }
      if (child.at >= entry.at) break;
      heap[hole] = child;
      hole = below;
    }
    heap[hole] = entry;
  }
}
