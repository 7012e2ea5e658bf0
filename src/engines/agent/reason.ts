/** Why an engine ended, in words for people. Pure. */

/** What its processes put before each line: `(EngineCore pid=12) ERROR 11-25 10:00:00 [core.py:1] `. */
const PREFIX = /^(?:\([^)]*pid=\d+\)\s*)?(?:(?:ERROR|WARNING|INFO|CRITICAL|DEBUG)\s+\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\s+\[[^\]]*\]\s*)?/;
/** The last line of a Python traceback. */
const EXCEPTION = /^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b.*$/;
const ARGUMENT = /^(?:vllm|usage|\S+\.py).*error: (.*)$/;
/** Says that another process failed, and not why. */
const HEARSAY = /root cause|EngineDeadError|Engine core initialization failed|WorkerProc initialization failed|cancelled|SystemExit/i;
const MAX_CHARS = 600;

/**
 * @param lines its output, oldest first.
 * @returns the cause if its output names one, else its last words.
 */
export function causeOf(lines: readonly string[]): string {
  const bare = lines.map((line) => line.replace(PREFIX, '').trim());
  const errors = bare.flatMap((line) => {
    const argument = ARGUMENT.exec(line)?.[1];
    if (argument !== undefined) return [argument];
    return EXCEPTION.test(line) ? [line] : [];
  });
  // One process fails and takes the others with it: the first one to speak knows why.
  const cause = errors.find((line) => !HEARSAY.test(line)) ?? errors[0];
  return (
    cause ??
    bare
      .filter((line) => line !== '')
      .slice(-3)
      .join(' | ')
  ).slice(0, MAX_CHARS);
}
