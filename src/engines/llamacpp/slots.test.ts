import { describe, expect, it } from 'vitest';
import { chooseSlot, emptySlot, matchingBlocks, type Slot } from './slots.ts';

const BLOCK = 4;
const tokensOf = (count: number, first = 0) => Int32Array.from({ length: count }, (_, i) => first + i);
const keysOf = (count: number, name = 'k') => Array.from({ length: count }, (_, i) => `${name}${i}`);
const wanted = (blocks: number) => ({ keys: keysOf(blocks), tokens: tokensOf(blocks * BLOCK), blockTokens: BLOCK });

function slot(id: number, blocks: number, change: Partial<Slot> = {}): Slot {
  return { ...emptySlot(id), keys: keysOf(blocks), tokens: tokensOf(blocks * BLOCK), length: blocks * BLOCK, lastUsed: id, ...change };
}

describe('matchingBlocks', () => {
  it('counts leading blocks with equal keys and equal tokens', () => {
    expect(matchingBlocks(slot(0, 5), wanted(3))).toBe(3);
    expect(matchingBlocks(slot(0, 2), wanted(3))).toBe(2);
    const collision = slot(0, 3, { tokens: tokensOf(12).map((token) => (token === 5 ? 99 : token)) });
    expect(matchingBlocks(collision, wanted(3))).toBe(1);
  });
});

describe('chooseSlot', () => {
  it('takes an empty slot for something new, else the one unused for longest', () => {
    const other = { keys: keysOf(2, 'o') };
    expect(chooseSlot([slot(0, 2, other), emptySlot(1)], wanted(2))?.slot.id).toBe(1);
    expect(chooseSlot([slot(0, 2, { ...other, lastUsed: 9 }), slot(1, 2, { ...other, lastUsed: 3 })], wanted(2))?.slot.id).toBe(1);
  });

  it('takes over the slot that holds the conversation', () => {
    expect(chooseSlot([emptySlot(0), slot(1, 4)], wanted(6))).toMatchObject({ slot: { id: 1 }, keep: 4, copyFrom: null });
  });

  it('copies a short common prefix rather than losing a long conversation', () => {
    const choice = chooseSlot([emptySlot(0), slot(1, 10)], wanted(2));
    expect(choice).toMatchObject({ slot: { id: 0 }, keep: 0, copyFrom: { id: 1 }, copyBlocks: 2 });
  });

  it('loses the long conversation when there is no other slot', () => {
    expect(chooseSlot([slot(1, 10)], wanted(2))).toMatchObject({ slot: { id: 1 }, keep: 2, copyFrom: null });
  });

  it('copies from a busy slot, and never takes one', () => {
    expect(chooseSlot([slot(0, 8, { busy: true }), emptySlot(1)], wanted(8))).toMatchObject({
      slot: { id: 1 },
      copyFrom: { id: 0 },
      copyBlocks: 8,
    });
    expect(chooseSlot([slot(0, 8, { busy: true })], wanted(8))).toBeNull();
  });
});
