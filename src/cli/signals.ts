/** Ends of this process that somebody asked for. */
export interface Signals {
  /** Resolves with the first SIGINT or SIGTERM. */
  readonly first: Promise<NodeJS.Signals>;
  /** Calls back on every further one. */
  onFurther(run: () => void): void;
  stop(): void;
}

export function listenToSignals(): Signals {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  const further: (() => void)[] = [];
  let count = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    count += 1;
    if (count === 1) resolve(signal);
    else for (const run of further) run();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return {
    first: promise,
    onFurther: (run) => further.push(run),
    stop() {
      process.off('SIGINT', onSignal);
      process.off('SIGTERM', onSignal);
    },
  };
}
