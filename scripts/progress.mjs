// A wait that a person can follow, on standard error: one live line on a terminal, a plain line now and then elsewhere.
const LIVE_MS = 250;
const PLAIN_MS = 10_000;

/** Starts reporting `label`, with what `detail()` says at the time. Call `stop(outcome)` once. */
export function startProgress({ label, detail }) {
  const live = Boolean(process.stderr.isTTY);
  const started = performance.now();
  const seconds = () => `${Math.round((performance.now() - started) / 1000)} s`;
  process.stderr.write(`sluice: ${label}\n`);
  const report = () => process.stderr.write(live ? `\r\x1b[K  ${detail()}, ${seconds()}` : `sluice: ${detail()}, ${seconds()}\n`);
  const timer = setInterval(report, live ? LIVE_MS : PLAIN_MS);
  return {
    stop(outcome) {
      clearInterval(timer);
      process.stderr.write(`${live ? '\r\x1b[K' : ''}sluice: ${outcome} after ${seconds()}\n`);
    },
  };
}
