/**
 * What is in the folder, as this process knows it, in the order in which it may go: the longest unused first, pinned ones after all others.
 * Bookkeeping only; `shelf.ts` moves bytes.
 */
export interface FolderEntry {
  readonly id: string;
  readonly keys: readonly string[];
  readonly bytes: number;
  readonly tenant: string;
  readonly pinned: boolean;
}

export class FolderCatalog {
  readonly #groups = new Map<string, FolderEntry>();
  readonly #pinned = new Map<string, FolderEntry>();
  readonly #byKey = new Map<string, string>();
  readonly #tenantBytes = new Map<string, number>();
  usedBytes = 0;
  pinnedBytes = 0;

  get size(): number {
    return this.#groups.size + this.#pinned.size;
  }

  get(id: string): FolderEntry | null {
    return this.#groups.get(id) ?? this.#pinned.get(id) ?? null;
  }

  holder(key: string): string | null {
    return this.#byKey.get(key) ?? null;
  }

  /** Of blocks. */
  keys(): Iterable<string> {
    return this.#byKey.keys();
  }

  tenantBytes(tenant: string): number {
    return this.#tenantBytes.get(tenant) ?? 0;
  }

  /** The newest from now on. */
  add(entry: FolderEntry): void {
    this.remove(entry.id);
    (entry.pinned ? this.#pinned : this.#groups).set(entry.id, entry);
    for (const key of entry.keys) this.#byKey.set(key, entry.id);
    this.#count(entry, 1);
  }

  touch(id: string): FolderEntry | null {
    const entry = this.get(id);
    if (entry) {
      const order = entry.pinned ? this.#pinned : this.#groups;
      order.delete(id);
      order.set(id, entry);
    }
    return entry;
  }

  remove(id: string): FolderEntry | null {
    const entry = this.get(id);
    if (!entry) return null;
    (entry.pinned ? this.#pinned : this.#groups).delete(id);
    for (const key of entry.keys) if (this.#byKey.get(key) === id) this.#byKey.delete(key);
    this.#count(entry, -1);
    return entry;
  }

  /**
   * What has to go for `bytes` more, oldest first; null when that cannot be had.
   * @param tenant with it: of that tenant alone, within `capacityBytes` of its own.
   */
  victims(bytes: number, capacityBytes: number, tenant: string | null = null): readonly FolderEntry[] | null {
    const used = tenant === null ? this.usedBytes : this.tenantBytes(tenant);
    let excess = used + bytes - capacityBytes;
    const chosen: FolderEntry[] = [];
    for (const order of [this.#groups, this.#pinned]) {
      for (const entry of order.values()) {
        if (excess <= 0) return chosen;
        if (tenant !== null && entry.tenant !== tenant) continue;
        chosen.push(entry);
        excess -= entry.bytes;
      }
    }
    return excess <= 0 ? chosen : null;
  }

  ids(limit: number): string[] {
    return [...this.#groups.keys(), ...this.#pinned.keys()].slice(0, limit);
  }

  /** The `count` that may go first. */
  oldest(count: number): FolderEntry[] {
    const entries: FolderEntry[] = [];
    for (const order of [this.#groups, this.#pinned]) {
      for (const entry of order.values()) {
        if (entries.length >= count) return entries;
        entries.push(entry);
      }
    }
    return entries;
  }

  #count({ bytes, tenant, pinned }: FolderEntry, sign: 1 | -1): void {
    this.usedBytes += sign * bytes;
    if (pinned) this.pinnedBytes += sign * bytes;
    const left = this.tenantBytes(tenant) + sign * bytes;
    if (left > 0) this.#tenantBytes.set(tenant, left);
    else this.#tenantBytes.delete(tenant);
  }
}
