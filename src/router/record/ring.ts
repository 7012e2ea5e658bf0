/** The last records, bounded; the oldest give way. */
import type { RequestRecord } from './record.ts';

export class RecordRing {
  readonly #capacity: number;
  readonly #slots: (RequestRecord | undefined)[];
  /** Newest record of each id: a client may send an id twice. */
  readonly #byId = new Map<string, RequestRecord>();
  #next = 0;

  /** @param capacity records kept; one takes about 2 KiB, its candidates are bounded by placement. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#slots = Array.from({ length: capacity });
  }

  add(record: RequestRecord): void {
    const old = this.#slots[this.#next];
    if (old && this.#byId.get(old.id) === old) this.#byId.delete(old.id);
    this.#slots[this.#next] = record;
    this.#byId.set(record.id, record);
    this.#next = (this.#next + 1) % this.#capacity;
  }

  get(id: string): RequestRecord | null {
    return this.#byId.get(id) ?? null;
  }

  /** Newest first, readiness probes left out. */
  latest(limit: number): RequestRecord[] {
    const found: RequestRecord[] = [];
    for (let back = 1; back <= this.#capacity && found.length < limit; back += 1) {
      const record = this.#slots[(this.#next - back + this.#capacity) % this.#capacity];
      if (!record) break;
      if (!record.synthetic) found.push(record);
    }
    return found;
  }
}
