/** Who is left out when a leg is given up before it failed. Nothing is given up here. */
import { SluiceError } from '../../shared/index.ts';
import type { Instance } from '../instances/instance.ts';
import type { Booking } from './booking.ts';
import type { Fault } from './flightoptions.ts';
import { overdueText, silenceText, slowText } from './patience.ts';
import type { Vigil } from './vigil.ts';

export interface Straits {
  readonly vigil: Vigil;
  readonly booking: Booking;
  /** Whether somebody else could do it, and nothing of it would get lost. */
  readonly canLeave: (culprit: Instance) => boolean;
}

/** A leg is silent or slow. @returns why it is given up, if there is another way; null = it is waited for on */
export function giveUp(verdict: 'silent' | 'slow', straits: Straits, now: number): Fault | null {
  const fault = betterWay(verdict, straits, now);
  if (fault === null) straits.vigil.bear(now);
  return fault;
}

function betterWay(verdict: 'silent' | 'slow', { vigil, booking, canLeave }: Straits, now: number): Fault | null {
  const { prefill = null, decode = null } = booking.choice ?? {};
  const working = vigil.stage === 'prefill' ? prefill : decode;
  const culprit = verdict === 'silent' ? vigil.silent : working;
  if (culprit === null || !canLeave(culprit)) return null;
  if (verdict === 'silent' && vigil.silence !== null)
    return { culprit, error: new SluiceError('engine_failed', silenceText(vigil.silence, vigil.stage)) };
  const elapsedMs = vigil.elapsedMs(now);
  const other = booking.other(culprit);
  if (other === null || other.decision.chosen.ttftMs > elapsedMs) return null;
  const predictedMs = booking.predictedPrefillMs;
  // What is slow again and again is what it costs there: the next one is given more time.
  culprit.prefillSpread.add(predictedMs, elapsedMs);
  return { culprit, error: new SluiceError('deadline_exceeded', slowText(elapsedMs, predictedMs)) };
}

/** Prefill is overdue. Of two instances that wait for each other nobody knows which one is to blame: both are left out, or one that can be spared. */
export function overdueFault(booking: Booking): Fault {
  const { prefill = null, decode = null } = booking.choice ?? {};
  const error = new SluiceError('deadline_exceeded', overdueText('prefill'));
  if (booking.speech?.concurrent !== true || prefill === null) return { culprit: prefill, error };
  const innocent = true;
  if (decode !== null && booking.hasOther([prefill, decode], false)) return { culprit: prefill, partner: decode, error, innocent };
  return { culprit: booking.hasOther([prefill], false) ? prefill : decode, error, innocent };
}
