import { describe, expect, it } from 'vitest';
import { Pulse } from './pulse.ts';

const TICK_MS = 100;

/** Lets time go on, tick by tick, as a feed does. */
class Bench {
  readonly pulse = new Pulse(0);
  now = 0;

  pass(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += TICK_MS;
      this.pulse.tick(this.now, 2 * TICK_MS);
    }
  }

  /** Lines at these distances. */
  rhythm(gaps: readonly number[]): void {
    this.pulse.heard();
    for (const gap of gaps) {
      this.pass(gap);
      this.pulse.heard();
    }
  }
}

function benchAfter(gaps: readonly number[]): Bench {
  const bench = new Bench();
  bench.pulse.connected();
  bench.rhythm(gaps);
  return bench;
}

const EVEN: readonly number[] = Array.from({ length: 50 }, () => 200);

describe('Pulse', () => {
  it('calls an instance silent that said nothing for a second', () => {
    const bench = benchAfter(EVEN);
    bench.pass(1_000);
    expect(bench.pulse.silence).toBeNull();
    bench.pass(100);
    expect(bench.pulse.silence).toEqual({ ms: 1_100, of: 'instance' });
    bench.pulse.heard();
    expect(bench.pulse.silence).toBeNull();
  });

  it('gives one that is often late more time, up to three seconds', () => {
    const late = benchAfter([...EVEN, 800, 200, 900, 200]);
    late.pass(2_600);
    expect(late.pulse.silence).toBeNull();
    late.pass(200);
    expect(late.pulse.silence).not.toBeNull();
    const worst = benchAfter([...EVEN, 4_000, 4_000]);
    worst.pass(3_000);
    expect(worst.pulse.silence).toBeNull();
    worst.pass(100);
    expect(worst.pulse.silence).not.toBeNull();
  });

  it('forgets that it was late once', () => {
    const bench = benchAfter([900, ...EVEN, ...EVEN, ...EVEN]);
    bench.pass(1_100);
    expect(bench.pulse.silence).not.toBeNull();
  });

  it('does not count the time that this process stood still', () => {
    const bench = benchAfter(EVEN);
    bench.now += 60_000;
    bench.pulse.tick(bench.now, 2 * TICK_MS);
    expect(bench.pulse.silence).toBeNull();
    expect(bench.pulse.quietMs).toBe(200);
  });

  it('takes bytes of an answer for a sign of life, though its feed says nothing', () => {
    const bench = benchAfter(EVEN);
    bench.pass(900);
    bench.pulse.answered(bench.now);
    bench.pass(900);
    expect(bench.pulse.silence).toBeNull();
    expect(bench.pulse.quietMs).toBe(1_800);
    bench.pass(200);
    expect(bench.pulse.silence).toEqual({ ms: 1_100, of: 'instance' });
  });

  it('takes a part of a line for a sign of life', () => {
    const bench = benchAfter(EVEN);
    bench.pass(900);
    bench.pulse.moved();
    bench.pass(1_000);
    expect(bench.pulse.silence).toBeNull();
    bench.pass(100);
    expect(bench.pulse.silence).not.toBeNull();
  });

  it('learns nothing from the time before its feed was there', () => {
    const bench = new Bench();
    bench.pass(30_000);
    bench.pulse.connected();
    bench.rhythm(EVEN);
    bench.pass(1_100);
    expect(bench.pulse.silence).not.toBeNull();
  });

  it('believes an agent that says that its engine does not answer, after three seconds', () => {
    const bench = benchAfter(EVEN);
    bench.pulse.told(3_000, bench.now);
    expect(bench.pulse.silence).toBeNull();
    bench.pulse.told(3_100, bench.now);
    expect(bench.pulse.silence).toEqual({ ms: 3_100, of: 'engine' });
    bench.pulse.answered(bench.now);
    expect(bench.pulse.silence).toBeNull();
    bench.pulse.told(0, bench.now);
    expect(bench.pulse.silence).toBeNull();
  });

  it('gives an engine that often keeps its agent waiting more time, up to ten seconds', () => {
    const bench = benchAfter(EVEN);
    bench.pulse.told(2_500, bench.now);
    bench.pulse.told(100, bench.now);
    bench.pulse.told(7_400, bench.now);
    expect(bench.pulse.silence).toBeNull();
    bench.pulse.told(7_600, bench.now);
    expect(bench.pulse.silence).not.toBeNull();
    bench.pulse.told(0, bench.now);
    bench.pulse.told(9_900, bench.now);
    expect(bench.pulse.silence).toBeNull();
    bench.pulse.told(10_100, bench.now);
    expect(bench.pulse.silence).not.toBeNull();
  });

  it('knows when it lived last', () => {
    const bench = benchAfter(EVEN);
    bench.pulse.told(700, 5_000);
    expect(bench.pulse.aliveAt).toBe(4_300);
    bench.pulse.told(900, 5_200);
    expect(bench.pulse.aliveAt).toBe(4_300);
    bench.pulse.answered(5_100);
    expect(bench.pulse.aliveAt).toBe(5_100);
  });
});
