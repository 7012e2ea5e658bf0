/** Prometheus' text format, as far as it takes to read a few samples out of a long page. Pure. */

export interface Sample {
  readonly labels: ReadonlyMap<string, string>;
  /** May be infinite or NaN, as the page says. */
  readonly value: number;
}

/** A metrics page that does not say what it should. */
export class MetricsFormatError extends Error {
  /** Name of the metric, or `page`. */
  readonly field: string;

  constructor(field: string, expected: string, got: string) {
    super(`metrics: ${field}: expected ${expected}, got ${got.slice(0, 120)}`);
    this.name = 'MetricsFormatError';
    this.field = field;
  }
}

export const MAX_PAGE_CHARACTERS = 32 << 20;

/** `{a="b",c="d"} 1.5` or ` 1.5`, with a time after it or without. */
const AFTER_NAME = /^(?:\{(?<labels>(?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]+(?<value>\S+)(?:[ \t]+-?\d+)?[ \t]*\r?$/;
const LABEL = /[ \t]*(?<name>[a-zA-Z_]\w*)="(?<value>(?:[^"\\]|\\.)*)"[ \t]*(?:,|$)/y;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const WORDS: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  '+Inf': Number.POSITIVE_INFINITY,
  Inf: Number.POSITIVE_INFINITY,
  '-Inf': Number.NEGATIVE_INFINITY,
};

/**
 * Samples of the metrics named in `wanted`, in the order of the page; other lines are not looked at.
 * @throws MetricsFormatError when a wanted line is malformed or the page is too long.
 */
export function parseSamples(page: string, wanted: ReadonlySet<string>): Map<string, Sample[]> {
  if (page.length > MAX_PAGE_CHARACTERS)
    throw new MetricsFormatError('page', `at most ${MAX_PAGE_CHARACTERS} characters`, `${page.length}`);
  const samples = new Map<string, Sample[]>();
  for (let from = 0; from < page.length; ) {
    const newline = page.indexOf('\n', from);
    const end = newline < 0 ? page.length : newline;
    const nameEnd = endOfName(page, from, end);
    const name = page.slice(from, nameEnd);
    if (wanted.has(name)) {
      const sample = readSample(name, page.slice(nameEnd, end));
      const known = samples.get(name);
      if (known === undefined) samples.set(name, [sample]);
      else known.push(sample);
    }
    from = end + 1;
  }
  return samples;
}

function endOfName(page: string, from: number, end: number): number {
  let at = from;
  while (at < end && page[at] !== '{' && page[at] !== ' ' && page[at] !== '\t') at += 1;
  return at;
}

function readSample(name: string, rest: string): Sample {
  const groups = AFTER_NAME.exec(rest)?.groups;
  const text = groups?.['value'] ?? '';
  const value = WORDS[text] ?? (NUMBER.test(text) ? Number(text) : null);
  if (groups === undefined || value === null) throw new MetricsFormatError(name, 'labels and a number', rest);
  return { labels: readLabels(name, groups['labels'] ?? ''), value };
}

function readLabels(name: string, text: string): Map<string, string> {
  const labels = new Map<string, string>();
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const label = LABEL.exec(text)?.groups;
    if (label === undefined) throw new MetricsFormatError(name, 'labels as name="value"', text);
    labels.set(label['name'] ?? '', withoutEscapes(label['value'] ?? ''));
  }
  return labels;
}

function withoutEscapes(text: string): string {
  return text.includes('\\') ? text.replace(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character)) : text;
}
