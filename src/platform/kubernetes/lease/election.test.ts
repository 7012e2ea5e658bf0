/**
 * Many schedules that no real cluster would show in an hour: contenders with clocks of different speed that freeze and thaw, requests that
 * are slow or lost on the way there or back. What one API server does with a Lease is modelled; test/cluster has the real one.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Cancel, type Clock, FakeClock } from '../../../shared/index.ts';
import { KubernetesClient } from '../client.ts';
import { LostConnection, type Transport, type WireRequest, type WireResponse } from '../transport.ts';
import { Election, type ElectionTiming } from './election.ts';

const TIMING: ElectionTiming = { durationMs: 2_000, renewWithinMs: 1_800, retryMs: 200 };
const STEP_MS = 50;

class LeaseModel {
  #version = 0;
  #spec: Record<string, unknown> | null = null;

  answer({ method, body }: WireRequest): { readonly status: number; readonly body: unknown } {
    const refuse = (code: number, reason: string) => ({ status: code, body: { kind: 'Status', code, reason, message: reason } });
    const given: { readonly metadata?: { readonly resourceVersion?: string }; readonly spec?: Record<string, unknown> } = JSON.parse(
      body ?? '{}',
    );
    if (method === 'POST' && this.#spec !== null) return refuse(409, 'AlreadyExists');
    if (method !== 'POST' && this.#spec === null) return refuse(404, 'NotFound');
    if (method === 'PATCH' && given.metadata?.resourceVersion !== String(this.#version)) return refuse(409, 'Conflict');
    if (method !== 'GET') {
      this.#spec = { ...this.#spec, ...given.spec };
      this.#version += 1;
    }
    const metadata = { name: 'l', namespace: 'n', uid: 'u', resourceVersion: String(this.#version) };
    return { status: 200, body: { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec: this.#spec } };
  }
}

/** The clock of one process: of its own speed, and still while the process is frozen. */
class LocalClock implements Clock {
  readonly #world: FakeClock;
  readonly #speed: number;
  #held: (() => void)[] | null = null;

  constructor(world: FakeClock, speed: number) {
    this.#world = world;
    this.#speed = speed;
  }

  get frozen(): boolean {
    return this.#held !== null;
  }

  now(): number {
    return this.#world.now() * this.#speed;
  }

  /** Wall clocks of machines differ by anything. */
  wall(): number {
    return this.now() * 1_000;
  }

  after(ms: number, run: () => void): Cancel {
    let cancelled = false;
    const due = () => {
      if (cancelled) return;
      if (this.#held) this.#held.push(due);
      else run();
    };
    const cancel = this.#world.after(ms / this.#speed, due);
    return () => {
      cancelled = true;
      cancel();
    };
  }

  freeze(): void {
    this.#held ??= [];
  }

  /** `first` is what the process does before its timers have caught up. */
  thaw(first: () => void = () => {}): void {
    const held = this.#held ?? [];
    this.#held = null;
    first();
    for (const due of held) due();
  }
}

interface Network {
  /** Milliseconds on the way there and back, or null for lost. */
  there: number | null;
  back: number | null;
}

function transport(world: FakeClock, local: LocalClock, lease: LeaseModel, network: Network): Transport {
  return {
    send: (request) =>
      new Promise<WireResponse>((resolve, reject) => {
        const { there, back } = network;
        request.signal.addEventListener('abort', () => reject(new LostConnection('given up', true)), { once: true });
        if (there === null) return;
        world.after(there, () => {
          const { status, body } = lease.answer(request);
          if (back !== null)
            local.after(back, () => resolve({ status, retryAfter: null, body: ReadableStream.from([Buffer.from(JSON.stringify(body))]) }));
        });
      }),
    close: () => {},
  };
}

type Move = { readonly who: number | 'leader'; readonly steps: number } & (
  | { readonly kind: 'freeze' | 'thaw' | 'stop' }
  | ({ readonly kind: 'network' } & Network)
);

/** Fast, nearly too slow, or lost. */
const delay = fc.constantFrom(0, 0, 5, 400, 700, 800, null);
const steps = fc.constantFrom(0, 4, 20, 50);
/** One of the three, or whoever leads at the time. */
const who = fc.constantFrom(0, 1, 2, 'leader' as const, 'leader' as const);
const move: fc.Arbitrary<Move> = fc.oneof(
  fc.record({ kind: fc.constantFrom('freeze' as const, 'thaw' as const, 'freeze' as const, 'thaw' as const, 'stop' as const), who, steps }),
  fc.record({ kind: fc.constant('network' as const), who, steps, there: delay, back: delay }),
);

const settle = async () => {
  for (let turn = 0; turn < 4; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
};

describe('whatever happens to contenders and network', () => {
  it('there are never two leaders, and there is one soon after it is over', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(move, { minLength: 10, maxLength: 25 }),
        fc.array(fc.integer({ min: 95, max: 105 }), { minLength: 3, maxLength: 3 }),
        async (moves, speeds) => {
          const world = new FakeClock();
          const lease = new LeaseModel();
          const contenders = speeds.map((speed, index) => {
            const clock = new LocalClock(world, speed / 100);
            const network: Network = { there: 5, back: 5 };
            const client = new KubernetesClient({
              transport: transport(world, clock, lease, network),
              fieldManager: 'x',
              clock,
              random: () => 0,
            });
            const lead: ConstructorParameters<typeof Election>[0]['lead'] = ({ signal }) =>
              new Promise((resolve) => {
                signal.addEventListener('abort', () => resolve(), { once: true });
                if (signal.aborted) resolve();
              });
            const election = new Election({
              client,
              namespace: 'n',
              name: 'l',
              identity: `c${index}`,
              timing: TIMING,
              clock,
              random: () => 0.5,
              lead,
            });
            void election.start();
            return { clock, network, election, stopped: false };
          });
          const leaders = () => contenders.filter(({ clock, election }) => !clock.frozen && election.isLeader());
          const expectOneAtMost = () => expect(leaders().length).toBeLessThanOrEqual(1);
          const run = async (count: number) => {
            for (let step = 0; step < count; step += 1) {
              world.advance(STEP_MS);
              // What a process does the moment it may run again is what counts, before its timers have caught up.
              expect(leaders().length).toBeLessThanOrEqual(1);
              await settle();
              expect(leaders().length).toBeLessThanOrEqual(1);
            }
          };
          await run(5);
          for (const next of moves) {
            const one = next.who === 'leader' ? leaders()[0] : contenders[next.who];
            if (!one) continue;
            if (next.kind === 'freeze') one.clock.freeze();
            else if (next.kind === 'thaw') one.clock.thaw(expectOneAtMost);
            else if (next.kind === 'network') Object.assign(one.network, { there: next.there, back: next.back });
            else if (contenders.filter(({ stopped }) => !stopped).length > 1) {
              one.stopped = true;
              void one.election.stop();
            }
            await run(next.steps);
          }
          for (const one of contenders) {
            one.clock.thaw();
            Object.assign(one.network, { there: 5, back: 5 });
          }
          await run(150);
          expect(leaders()).toHaveLength(1);
          expect(leaders()[0]?.stopped).toBe(false);
          const ends = contenders.map(({ election }) => election.stop());
          await run(60);
          await Promise.all(ends);
          expect(leaders()).toEqual([]);
        },
      ),
      { numRuns: 20, endOnFailure: true, interruptAfterTimeLimit: 30_000 },
    );
  }, 60_000);
});

it('a timing in which two could lead is refused', () => {
  const client = new KubernetesClient({
    transport: transport(new FakeClock(), new LocalClock(new FakeClock(), 1), new LeaseModel(), { there: 0, back: 0 }),
    fieldManager: 'x',
  });
  const timing = { durationMs: 10_000, renewWithinMs: 10_000, retryMs: 2_000 };
  expect(() => new Election({ client, namespace: 'n', name: 'l', identity: 'a', timing, lead: async () => {} })).toThrow(
    /renewWithinMs 10000 < durationMs 10000 does not hold/,
  );
});
