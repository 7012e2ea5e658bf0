import { describe, expect, it } from 'vitest';
import { type Listed, Roster } from './roster.ts';

const item = (name: string) => ({ name, place: -1 });

describe('Roster', () => {
  it('lists what was added and not removed, and uses places again', () => {
    const roster = new Roster<Listed & { name: string }>();
    const [a, b, c] = [item('a'), item('b'), item('c')];
    for (const one of [a, b]) roster.add(one);
    roster.remove(a);
    roster.add(c);
    expect([...roster].map(({ name }) => name).sort()).toEqual(['b', 'c']);
    expect(c.place).toBe(0);
    expect(roster.size).toBe(2);
  });

  it('takes a second removal for what it is', () => {
    const roster = new Roster<Listed & { name: string }>();
    const [a, b] = [item('a'), item('b')];
    roster.add(a);
    roster.remove(a);
    roster.add(b);
    roster.remove(a);
    expect([...roster]).toEqual([b]);
    expect(roster.size).toBe(1);
  });

  it('may lose items while it is walked', () => {
    const roster = new Roster<Listed & { name: string }>();
    for (const name of ['a', 'b', 'c']) roster.add(item(name));
    for (const one of roster) roster.remove(one);
    expect(roster.size).toBe(0);
  });
});
