/** The work queue of migration commands: who asks for moves and who does them need not be one process. */
import type { Cancel } from '../../shared/index.ts';

/** Move every session that runs on an instance to others. */
export interface MoveOrder {
  /** Idempotence: an order whose id was accepted before is dropped. */
  readonly id: string;
  readonly instance: string;
  /** As people are told. */
  readonly why: string;
  /** Milliseconds from when it is taken by which it is to be done. */
  readonly deadlineMs: number;
}

/** `queued`: it will be delivered at least once. `duplicate`: its id was accepted before. `full`: it was not accepted. */
export type SubmitOutcome = 'queued' | 'duplicate' | 'full';

/** Exactly one of the two is called, once; an order that nobody settles in time is delivered again. */
export interface Delivery {
  readonly order: MoveOrder;
  /** From 1. */
  readonly attempt: number;
  readonly ack: () => void;
  /** Deliver it again later. */
  readonly nak: () => void;
}

export interface MoveQueue {
  submit(order: MoveOrder): Promise<SubmitOutcome>;
  /** One consumer takes each delivery. */
  consume(take: (delivery: Delivery) => void): Cancel;
  /** Orders that were accepted and not acknowledged. */
  readonly pending: number;
}
