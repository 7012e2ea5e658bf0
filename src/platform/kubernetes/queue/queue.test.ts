import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { type QueueOptions, type RunOutcome, WorkQueue } from './queue.ts';

const DONE: RunOutcome = { kind: 'done' };
const BACKOFF = { firstMs: 100, maxMs: 1_000, factor: 2 };
/** Lets everything run that waits for nothing but its turn. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

interface Run {
  readonly key: string;
  readonly atMs: number;
  readonly signal: AbortSignal;
  end(outcome: RunOutcome | Error): Promise<void>;
}

function scene(options: Partial<QueueOptions> = {}) {
  const clock = new FakeClock();
  const runs: Run[] = [];
  const open = new Set<Run>();
  const failures: string[] = [];
  const queue = new WorkQueue({
    workers: 2,
    clock,
    random: () => 0,
    backoff: BACKOFF,
    onFailure: (key, error, retryMs) => failures.push(`${key} ${error instanceof Error ? error.message : ''} ${retryMs}`),
    run: (key, signal) =>
      new Promise((resolve, reject) => {
        const run: Run = {
          key,
          atMs: clock.now(),
          signal,
          end(outcome) {
            open.delete(run);
            if (outcome instanceof Error) reject(outcome);
            else resolve(outcome);
            return settle();
          },
        };
        runs.push(run);
        open.add(run);
      }),
    ...options,
  });
  const last = () => {
    const run = runs.at(-1);
    if (!run) throw new Error('nothing ran');
    return run;
  };
  return { clock, queue, runs, open, failures, last, keys: () => runs.map(({ key }) => key) };
}

describe('a queue', () => {
  it('runs a key once however often it was added before', async () => {
    const { queue, keys, last } = scene({ workers: 1 });
    for (const key of ['a', 'b', 'b', 'b']) queue.add(key);
    await last().end(DONE);
    await last().end(DONE);
    expect(keys()).toEqual(['a', 'b']);
    expect(queue.depth()).toEqual({ ready: 0, running: 0, waiting: 0 });
  });

  it('runs a key again that was added while it ran, and not at the same time', async () => {
    const { queue, keys, last, open } = scene();
    queue.add('a');
    queue.add('a');
    queue.add('a');
    expect(open.size).toBe(1);
    await last().end(DONE);
    await last().end(DONE);
    expect(keys()).toEqual(['a', 'a']);
  });

  it('waits twice as long after every failure, up to the bound, and begins anew after a success', async () => {
    const { clock, queue, failures, last, runs } = scene();
    queue.add('a');
    for (let time = 0; time < 6; time += 1) {
      await last().end(new Error('no'));
      clock.advance(1_000);
      await settle();
    }
    expect(failures.map((line) => Number(line.split(' ')[2]))).toEqual([100, 200, 400, 800, 1000, 1000]);
    await last().end(DONE);
    queue.add('a');
    await last().end(new Error('no'));
    expect(failures.at(-1)).toBe('a no 100');
    expect(runs).toHaveLength(8);
  });

  it('keeps to the wait of a key that failed, though it is added meanwhile', async () => {
    const { clock, queue, runs, last } = scene();
    queue.add('a');
    await last().end(new Error('no'));
    queue.add('a');
    clock.advance(99);
    expect(runs).toHaveLength(1);
    clock.advance(1);
    expect(runs).toHaveLength(2);
  });

  it('looks again after the time that a run asked for, or earlier when the key is added', async () => {
    const { clock, queue, runs, last } = scene();
    queue.add('a');
    await last().end({ kind: 'again', afterMs: 500 });
    clock.advance(499);
    expect(runs).toHaveLength(1);
    clock.advance(1);
    expect(runs).toHaveLength(2);
    await last().end({ kind: 'again', afterMs: 500 });
    queue.add('a');
    expect(runs).toHaveLength(3);
    await last().end(DONE);
    clock.advance(1_000);
    expect(runs).toHaveLength(3);
  });

  it('takes the earliest of several times', () => {
    const { clock, queue, runs } = scene();
    queue.addAfter('a', 300);
    queue.addAfter('a', 100);
    queue.addAfter('a', 200);
    clock.advance(100);
    expect(runs).toHaveLength(1);
  });

  it('starts no more than its pace allows', async () => {
    const { clock, queue, runs } = scene({ workers: 100, pace: { perSecond: 10, burst: 3 } });
    for (let key = 0; key < 10; key += 1) queue.add(`k${key}`);
    expect(runs).toHaveLength(3);
    clock.advance(100);
    expect(runs).toHaveLength(4);
    clock.advance(600);
    expect(runs).toHaveLength(10);
    expect(runs.at(-1)?.atMs).toBe(700);
  });

  it('refuses more keys than it may hold, and takes one again when there is room', async () => {
    const { queue, last } = scene({ maxKeys: 2 });
    expect([queue.add('a'), queue.add('b'), queue.add('c'), queue.addAfter('d', 1), queue.add('a')]).toEqual([
      true,
      true,
      false,
      false,
      true,
    ]);
    await last().end(DONE);
    expect(queue.add('c')).toBe(true);
  });

  it('ends when what runs has ended, and starts nothing more', async () => {
    const { clock, queue, runs, last } = scene({ workers: 1 });
    queue.add('a');
    queue.add('b');
    queue.addAfter('c', 10);
    let stopped = false;
    const stop = queue.stop(5_000).then(() => {
      stopped = true;
    });
    clock.advance(4_999);
    await settle();
    expect([stopped, last().signal.aborted]).toEqual([false, false]);
    clock.advance(1);
    expect(last().signal.aborted).toBe(true);
    await last().end(new Error('aborted'));
    await stop;
    expect(runs).toHaveLength(1);
    expect(queue.add('d')).toBe(false);
    clock.advance(60_000);
    expect(runs).toHaveLength(1);
  });
});

type Command =
  | { readonly kind: 'add'; readonly key: string }
  | { readonly kind: 'later'; readonly key: string; readonly ms: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'end'; readonly which: number; readonly how: 'done' | 'fail' | 'again' };

const key = fc.constantFrom('a', 'b', 'c', 'd');
const ms = fc.nat(1_500);
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), key }),
  fc.record({ kind: fc.constant('later' as const), key, ms }),
  fc.record({ kind: fc.constant('pass' as const), ms }),
  fc.record({
    kind: fc.constant('end' as const),
    which: fc.nat(3),
    how: fc.constantFrom('done' as const, 'fail' as const, 'again' as const),
  }),
);

describe('whatever happens, a queue', () => {
  it('never runs a key twice at the same time, loses none, keeps its bounds, and ends', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { maxLength: 60 }), fc.integer({ min: 1, max: 3 }), async (commands, workers) => {
        const { clock, queue, runs, open } = scene({ workers, pace: { perSecond: 20, burst: 4 } });
        /** Keys that must still run: added, and not started since. */
        const owed = new Set<string>();
        const look = (from: number) => {
          for (const run of runs.slice(from)) owed.delete(run.key);
          const active = [...open].map((run) => run.key);
          expect(new Set(active).size).toBe(active.length);
          expect(active.length).toBeLessThanOrEqual(workers);
        };
        const outcomes = { done: DONE, fail: new Error('no'), again: { kind: 'again', afterMs: 70 } } as const;
        for (const step of commands) {
          const before = runs.length;
          if (step.kind === 'add' || step.kind === 'later') owed.add(step.key);
          if (step.kind === 'add') expect(queue.add(step.key)).toBe(true);
          else if (step.kind === 'later') expect(queue.addAfter(step.key, step.ms)).toBe(true);
          else if (step.kind === 'pass') clock.advance(step.ms);
          else await [...open][step.which]?.end(outcomes[step.how]);
          if (step.kind === 'end' && step.how === 'again') await settle();
          look(before);
        }
        for (let round = 0; round < 40 && (owed.size > 0 || open.size > 0 || queue.depth().waiting > 0); round += 1) {
          const before = runs.length;
          await [...open][0]?.end(DONE);
          clock.advance(2_000);
          await settle();
          look(before);
        }
        expect([...owed]).toEqual([]);
        expect(queue.depth()).toEqual({ ready: 0, running: 0, waiting: 0 });
        await queue.stop(0);
      }),
      { numRuns: 300 },
    );
  });
});
