/** What a process of ours said last, as a person wants to read it. Pure. */

const VERDICTS = ['sluice engine: ', 'sluice router: '];

/** A command of ours that fails ends with a sentence which says why; what stands before it was only on the way. */
export function lastWords(lines: readonly string[]): readonly string[] {
  const words = lines.map(readable);
  const verdict = words.at(-1);
  const name = VERDICTS.find((one) => verdict?.startsWith(one));
  return name === undefined || verdict === undefined ? words : [verdict.slice(name.length)];
}

/** A log line of ours is JSON; its message is what is to be read. */
function readable(line: string): string {
  if (!line.startsWith('{')) return line;
  try {
    const entry: unknown = JSON.parse(line);
    if (typeof entry === 'object' && entry !== null && 'msg' in entry && typeof entry.msg === 'string') return entry.msg;
    return line;
  } catch {
    return line; // cut in the middle: shown as it is
  }
}
