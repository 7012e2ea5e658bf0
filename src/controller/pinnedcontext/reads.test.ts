import { describe, expect, it } from 'vitest';
import type { PinningInstance } from '../../platform/index.ts';
import { FakeClock } from '../../shared/index.ts';
import { PinReads } from './reads.ts';

const SILENT: readonly PinningInstance[] = [{ name: 'p-0', role: 'prefill', usable: true, memory: null, why: 'silent' }];

/** Routers that do not answer before they are told to. */
function routers(answers: Readonly<Record<string, readonly PinningInstance[] | null>>) {
  const asked: string[] = [];
  let answer = () => {};
  const gate = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const read = async (url: string) => {
    asked.push(url);
    await gate;
    return answers[url] ?? null;
  };
  return { asked, answer, read };
}

describe('PinReads', () => {
  it('asks once for all that want to know while it is under way and shortly after', async () => {
    const clock = new FakeClock();
    const { asked, answer, read } = routers({ r: SILENT });
    const reads = new PinReads(clock, read);
    const answers = [reads.of('a/chat', ['r']), reads.of('a/chat', ['r'])];
    clock.advance(60_000);
    answers.push(reads.of('a/chat', ['r']));
    answer();
    for (const one of await Promise.all(answers)) expect(one).toEqual({ url: 'r', instances: SILENT });
    clock.advance(400);
    await reads.of('a/chat', ['r']);
    expect(asked).toEqual(['r']);
    clock.advance(1);
    await reads.of('a/chat', ['r']);
    expect(asked).toEqual(['r', 'r']);
  });

  it('asks 23 times in ten seconds for 200 contexts that look every ten seconds', async () => {
    const clock = new FakeClock();
    const { asked, answer, read } = routers({ r: SILENT });
    const reads = new PinReads(clock, read);
    answer();
    for (let context = 0; context < 200; context += 1) {
      await reads.of('a/chat', ['r']);
      clock.advance(50);
    }
    expect(asked.length).toBe(23);
  });

  it('asks anew where something is different now, also when it was asked before', async () => {
    const { asked, answer, read } = routers({ r: SILENT });
    const reads = new PinReads(new FakeClock(), read);
    const before = reads.of('a/chat', ['r']);
    reads.forget('a/chat');
    const after = reads.of('a/chat', ['r']);
    answer();
    await Promise.all([before, after]);
    expect(asked).toEqual(['r', 'r']);
  });

  it('takes deployments apart, and the first router that answers', async () => {
    const { asked, answer, read } = routers({ second: SILENT });
    const reads = new PinReads(new FakeClock(), read);
    answer();
    expect(await reads.of('a/chat', ['first', 'second'])).toEqual({ url: 'second', instances: SILENT });
    expect(await reads.of('b/chat', ['first'])).toEqual({ url: null, instances: [] });
    expect(asked).toEqual(['first', 'second', 'first']);
  });
});
