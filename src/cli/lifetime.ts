import { listenToSignals } from './signals.ts';

/** Why a process of ours ends: it was asked to, or the process that started it is gone. */
export type EndReason = 'signal' | 'parent';

const FAILED = 1;

/** Resolves `reason` when this process is to end; a further signal ends it at once. `stop` when it has ended for another reason. */
export function untilEnded(): { readonly reason: Promise<EndReason>; stop(): void } {
  const signals = listenToSignals();
  const { promise, resolve } = Promise.withResolvers<EndReason>();
  const orphaned = () => resolve('parent');
  if (process.send) process.once('disconnect', orphaned);
  signals.onFurther(() => process.exit(FAILED));
  return {
    reason: Promise.race([promise, signals.first.then((): EndReason => 'signal')]),
    stop() {
      signals.stop();
      process.off('disconnect', orphaned);
      // An open channel would keep the process alive.
      if (process.connected) process.disconnect();
    },
  };
}
