/** What all requests of a router share. */
import type { Directory } from '../../kv/index.ts';
import type { Clock } from '../../shared/index.ts';
import type { Admission } from '../admission/admission.ts';
import type { DirectoryHints } from '../kv/hints.ts';
import type { RequestRecord } from '../record/index.ts';
import type { Chooser } from './choose.ts';
import type { Deadlines, Watchman } from './deadlines.ts';
import type { Flight } from './flight.ts';
import type { MoveContext } from './moves/index.ts';

export interface DispatchContext {
  readonly clock: Clock;
  readonly chooser: Chooser;
  readonly directory: Directory;
  /** The directory that is shared with others; null = none. */
  readonly hints: DirectoryHints | null;
  readonly admission: Admission;
  readonly watchman: Watchman<Flight>;
  readonly deadlines: Deadlines;
  /** Keys of the blocks of a request's prompt, for as long as its record is kept. */
  readonly chains: WeakMap<RequestRecord, Float64Array>;
  /** A 32-bit seed for a sampled request that brought none. */
  readonly newSeed: () => number;
  readonly moves: MoveContext;
  /** A name that no other request of any router has. */
  readonly newSession: () => string;
  /** A room for a prefill and a decode instance to meet in, 0 to 2^52 - 1: nobody else has it. */
  readonly newRoom: () => number;
  /** Called once per request, when it has ended and holds nothing any more. */
  readonly onEnd: (flight: Flight) => void;
  /** Counts of what is held right now; all are zero when nothing is in flight. */
  readonly held: { reservations: number; legs: number };
}
