import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakeClock, type SluiceError } from '../../shared/index.ts';
import { Admission, type Applicant } from './admission.ts';

class Guest implements Applicant {
  readonly tenant: string;
  readonly name: string;
  readonly #log: string[];
  admittedTimes = 0;
  refusal: SluiceError | null = null;

  constructor(name: string, tenant: string, log: string[] = []) {
    this.name = name;
    this.tenant = tenant;
    this.#log = log;
  }

  admitted(): void {
    this.admittedTimes += 1;
    this.#log.push(this.name);
  }

  refused(error: SluiceError): void {
    this.refusal = error;
  }
}

function fresh(limits: Partial<{ inFlight: number; queue: number; queueTimeoutMs: number }> = {}) {
  const clock = new FakeClock();
  const admission = new Admission({ inFlight: 1, queue: 10, queueTimeoutMs: 1000, ...limits }, clock);
  const log: string[] = [];
  const enter = (name: string, tenant = '') => {
    const guest = new Guest(name, tenant, log);
    admission.enter(guest);
    return guest;
  };
  return { clock, admission, log, enter };
}

describe('Admission', () => {
  it('admits up to its places, lets others wait, and refuses beyond the queue', () => {
    const { admission, enter } = fresh({ queue: 1 });
    const first = enter('first');
    const second = enter('second');
    const third = enter('third');
    expect([first.admittedTimes, second.admittedTimes, third.admittedTimes]).toEqual([1, 0, 0]);
    expect(third.refusal).toMatchObject({ code: 'queue_full' });
    expect(third.refusal?.retryAfterSeconds).toBeGreaterThanOrEqual(1);
    admission.leave(first);
    expect(second.admittedTimes).toBe(1);
    expect([admission.inFlight, admission.queued]).toEqual([1, 0]);
  });

  it('takes turns between tenants, each first come first served', () => {
    const { admission, log, enter } = fresh();
    let last = enter('start');
    const guests = [enter('a1', 'a'), enter('a2', 'a'), enter('a3', 'a'), enter('b1', 'b'), enter('c1', 'c')];
    for (const _guest of guests) {
      admission.leave(last);
      last = guests.find((guest) => guest.name === log.at(-1)) ?? last;
    }
    expect(log).toEqual(['start', 'a1', 'b1', 'c1', 'a2', 'a3']);
  });

  it('refuses in time who waits too long, and nobody twice', () => {
    const { admission, clock, enter } = fresh();
    const first = enter('first');
    const late = enter('late');
    clock.advance(999);
    expect(late.refusal).toBeNull();
    clock.advance(1);
    expect(late.refusal).toMatchObject({ code: 'unavailable' });
    admission.leave(first);
    expect([late.admittedTimes, admission.inFlight, admission.queued]).toEqual([0, 0, 0]);
  });

  it('forgets who leaves the queue', () => {
    const { admission, clock, enter } = fresh();
    const first = enter('first');
    const second = enter('second');
    admission.leave(second);
    expect(admission.queued).toBe(0);
    admission.leave(first);
    clock.advance(5000);
    expect([second.admittedTimes, second.refusal]).toEqual([0, null]);
  });

  it('keeps its counts under any history', () => {
    const action = fc.record({
      kind: fc.constantFrom('enter', 'leave', 'wait'),
      which: fc.nat(50),
      tenant: fc.constantFrom('a', 'b', 'c'),
    });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), fc.nat(4), (actions, inFlight, queue) => {
        const { admission, clock, enter } = fresh({ inFlight, queue, queueTimeoutMs: 100 });
        const present: Guest[] = [];
        for (const [index, { kind, which, tenant }] of actions.entries()) {
          if (kind === 'enter') present.push(enter(String(index), tenant));
          else if (kind === 'wait') clock.advance(which);
          else {
            const [guest] = present.splice(which % Math.max(1, present.length), 1);
            if (guest && guest.refusal === null) admission.leave(guest);
          }
          const living = present.filter((guest) => guest.refusal === null);
          expect(admission.inFlight).toBe(living.filter((guest) => guest.admittedTimes === 1).length);
          expect(admission.queued).toBe(living.filter((guest) => guest.admittedTimes === 0).length);
          expect(admission.inFlight <= inFlight && admission.queued <= queue).toBe(true);
          if (admission.queued > 0) expect(admission.inFlight).toBe(inFlight);
        }
      }),
    );
  });
});
