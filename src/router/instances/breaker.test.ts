import { describe, expect, it } from 'vitest';
import { Breaker } from './breaker.ts';

function broken(times: number): Breaker {
  const breaker = new Breaker();
  for (let count = 0; count < times; count += 1) breaker.failed(0);
  return breaker;
}

describe('Breaker', () => {
  it('bears a few failures', () => {
    expect(broken(2).allows(0)).toBe(true);
    expect(broken(3).allows(0)).toBe(false);
  });

  it('forgets failures with a success', () => {
    const breaker = broken(2);
    breaker.succeeded();
    breaker.failed(0);
    breaker.failed(0);
    expect([breaker.allows(0), breaker.state(0)]).toEqual([true, 'closed']);
  });

  it('lets one request try after a while', () => {
    const breaker = broken(3);
    expect([breaker.allows(499), breaker.state(499)]).toEqual([false, 'open']);
    expect([breaker.allows(500), breaker.state(500)]).toEqual([true, 'trying']);
    breaker.entered(500);
    expect(breaker.allows(500)).toBe(false);
    breaker.succeeded();
    expect(breaker.allows(500)).toBe(true);
  });

  it('waits longer after each failed try, up to 10 seconds', () => {
    const breaker = broken(3);
    breaker.entered(500);
    breaker.failed(500);
    expect([breaker.allows(1499), breaker.allows(1500)]).toEqual([false, true]);
    for (let count = 0; count < 20; count += 1) breaker.failed(0);
    expect([breaker.allows(9999), breaker.allows(10_000)]).toEqual([false, true]);
  });

  it('lets the next one try when the one that tried ended without a word', () => {
    const breaker = broken(3);
    breaker.entered(500);
    breaker.left();
    expect(breaker.allows(501)).toBe(true);
  });
});
