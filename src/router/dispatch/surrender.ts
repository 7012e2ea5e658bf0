/** Who is left out when a leg is given up before it failed. Nothing is given up here. */
import { SluiceError } from '../../shared/index.ts';
import type { Instance } from '../instances/instance.ts';
import type { Choice } from './choose.ts';
import type { Speech } from './dialects/index.ts';
import type { Fault } from './flightoptions.ts';
import { overdueText, silenceText, slowText } from './patience.ts';
import type { Vigil } from './vigil.ts';

/** The present attempt, and whether there are others. */
export interface Attempt {
  readonly choice: Pick<Choice, 'prefill' | 'decode'> | null;
  readonly speech: Pick<Speech, 'concurrent'> | null;
  readonly predictedPrefillMs: number;
  hasOther(without: readonly Instance[], sameGroup: boolean): boolean;
  other(without: readonly Instance[]): { readonly decision: { readonly chosen: { readonly ttftMs: number } } } | null;
}

export interface Straits {
  readonly vigil: Vigil;
  readonly booking: Attempt;
  /** Whether somebody else could do it, and nothing of it would get lost. */
  readonly canLeave: (culprits: readonly Instance[]) => boolean;
}

/** A leg is silent, or prefill is slow. @returns why it is given up, if there is another way; null = it is waited for on */
export function giveUp(verdict: 'silent' | 'slow', straits: Straits, now: number): Fault | null {
  const fault = verdict === 'silent' ? silentFault(straits) : slowFault(straits, now);
  if (fault === null) straits.vigil.bear(now);
  return fault;
}

function silentFault({ vigil: { silent, silence, stage }, canLeave }: Straits): Fault | null {
  if (silent === null || silence === null || !canLeave([silent])) return null;
  return { culprit: silent, error: new SluiceError('engine_failed', silenceText(silence, stage)) };
}

function slowFault({ vigil, booking, canLeave }: Straits, now: number): Fault | null {
  const elapsedMs = vigil.elapsedMs(now);
  const predictedMs = booking.predictedPrefillMs;
  const fault = prefillFault(booking, new SluiceError('deadline_exceeded', slowText(elapsedMs, predictedMs)));
  const suspects = [fault.culprit, fault.partner ?? null].filter((one) => one !== null);
  if (suspects.length === 0 || !canLeave(suspects)) return null;
  const other = booking.other(suspects);
  if (other === null || other.decision.chosen.ttftMs > elapsedMs) return null;
  // What is slow again and again is what it costs there: the next one is given more time.
  booking.choice?.prefill?.prefillSpread.add(predictedMs, elapsedMs);
  return fault;
}

/** Prefill is overdue. */
export function overdueFault(booking: Attempt): Fault {
  return prefillFault(booking, new SluiceError('deadline_exceeded', overdueText('prefill')));
}

/** Of two instances that wait for each other nobody knows which one is to blame: both are left out, or one that can be spared. */
function prefillFault(booking: Attempt, error: SluiceError): Fault {
  const { prefill = null, decode = null } = booking.choice ?? {};
  if (booking.speech?.concurrent !== true || prefill === null) return { culprit: prefill, error };
  const innocent = true;
  if (decode !== null && booking.hasOther([prefill, decode], false)) return { culprit: prefill, partner: decode, error, innocent };
  return { culprit: booking.hasOther([prefill], false) ? prefill : decode, error, innocent };
}
