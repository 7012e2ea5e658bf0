/**
 * The HBM tier of the engine: llama.cpp's sequences as slots that keep their KV after a request ended, until somebody needs the
 * room. Bookkeeping and choice only; moving bytes is cache.ts.
 */
export interface Slot {
  /** llama.cpp's sequence id. */
  readonly id: number;
  /** Keys of the finished blocks in the slot, from position 0. */
  readonly keys: string[];
  /** The tokens of these blocks and of the unfinished rest. */
  tokens: Int32Array;
  /** Tokens in the slot. */
  length: number;
  /** Tokens that the running request may come to need; 0 when idle. */
  reserved: number;
  busy: boolean;
  lastUsed: number;
  /** Salt of whose tokens they are. */
  tenant: string;
}

export interface SlotChoice {
  readonly slot: Slot;
  /** Leading blocks of the slot itself that stay. */
  readonly keep: number;
  /** Another slot that has more leading blocks than `keep`, to be copied. */
  readonly copyFrom: Slot | null;
  readonly copyBlocks: number;
}

export function emptySlot(id: number): Slot {
  return { id, keys: [], tokens: new Int32Array(0), length: 0, reserved: 0, busy: false, lastUsed: 0, tenant: '' };
}

/** Leading blocks of the slot that are the wanted ones: by key, and by token, since a key alone proves nothing. */
export function matchingBlocks(slot: Slot, wanted: { keys: readonly string[]; tokens: Int32Array; blockTokens: number }): number {
  const limit = Math.min(slot.keys.length, wanted.keys.length);
  let blocks = 0;
  while (
    blocks < limit &&
    slot.keys[blocks] === wanted.keys[blocks] &&
    sameTokens(slot.tokens, wanted.tokens, blocks * wanted.blockTokens, wanted.blockTokens)
  )
    blocks++;
  return blocks;
}

function sameTokens(a: Int32Array, b: Int32Array, from: number, count: number): boolean {
  for (let i = from; i < from + count; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * The slot for a request, or null when all are busy. A slot that already has the prefix is taken over, unless most of what it holds
 * would be lost and another slot is to be had: then the prefix is copied and both conversations stay.
 */
export function chooseSlot(
  slots: readonly Slot[],
  wanted: { keys: readonly string[]; tokens: Int32Array; blockTokens: number },
): SlotChoice | null {
  const idle = slots.filter((slot) => !slot.busy);
  if (idle.length === 0) return null;
  const matches = new Map(slots.map((slot) => [slot, matchingBlocks(slot, wanted)]));
  const match = (slot: Slot) => matches.get(slot) ?? 0;
  const fullest = slots.reduce((best, slot) => (match(slot) > match(best) ? slot : best));
  const own = idle.reduce((best, slot) => (match(slot) > match(best) ? slot : best));
  const spare = leastMissed(idle.filter((slot) => slot !== own || match(own) === 0));
  const losesMuch = match(own) * wanted.blockTokens * 2 < own.length;
  const slot = spare && (match(own) === 0 || (losesMuch && spare !== own)) ? spare : own;
  const keep = match(slot);
  return match(fullest) > keep
    ? { slot, keep: 0, copyFrom: fullest, copyBlocks: match(fullest) }
    : { slot, keep, copyFrom: null, copyBlocks: 0 };
}

/** Empty slots first, then the one unused for longest. */
function leastMissed(slots: readonly Slot[]): Slot | null {
  return slots.reduce<Slot | null>((best, slot) => (best === null || rank(slot) < rank(best) ? slot : best), null);
}

function rank(slot: Slot): number {
  return slot.length === 0 ? -1 : slot.lastUsed;
}
