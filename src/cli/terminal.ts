/** What people see: colours where they are wanted, aligned columns, and one line that lives at the bottom. */
import { stripVTControlCharacters } from 'node:util';

export type Paint = Readonly<Record<'bold' | 'dim' | 'green' | 'red' | 'yellow' | 'cyan', (text: string) => string>>;

const CODES = { bold: [1, 22], dim: [2, 22], green: [32, 39], red: [31, 39], yellow: [33, 39], cyan: [36, 39] } as const;

function painter(colours: boolean): Paint {
  const paint = (name: keyof typeof CODES) => (text: string) =>
    colours ? `\u001b[${CODES[name][0]}m${text}\u001b[${CODES[name][1]}m` : text;
  return {
    bold: paint('bold'),
    dim: paint('dim'),
    green: paint('green'),
    red: paint('red'),
    yellow: paint('yellow'),
    cyan: paint('cyan'),
  };
}

export const PLAIN: Paint = painter(false);

export interface Terminal {
  readonly paint: Paint;
  /** Whether a person sits in front of it: then `live` rewrites one line, else it prints a line whenever `milestone` changes ('' = nothing). */
  readonly interactive: boolean;
  print(text?: string): void;
  live(text: string, milestone?: string): void;
  /** Removes the live line. */
  settle(): void;
}

/** A terminal that does not tell its width tells 0 or nothing. */
const UNKNOWN_COLUMNS = 80;

export function terminalOn(stream: NodeJS.WriteStream, env: Readonly<Record<string, string | undefined>>): Terminal {
  const interactive = stream.isTTY === true && env['TERM'] !== 'dumb';
  let shown = false;
  let lastMilestone = '';
  const settle = () => {
    if (shown) stream.write('\r\u001b[K');
    shown = false;
  };
  return {
    paint: painter(interactive && !env['NO_COLOR']),
    interactive,
    print(text = '') {
      settle();
      stream.write(`${text}\n`);
    },
    live(text, milestone = text) {
      if (interactive) {
        stream.write(`\r\u001b[K${cut(text, (stream.columns || UNKNOWN_COLUMNS) - 1)}`);
        shown = true;
      } else if (milestone !== '' && milestone !== lastMilestone) stream.write(`${milestone}\n`);
      lastMilestone = milestone;
    },
    settle,
  };
}

const GRAPHEMES = new Intl.Segmenter();

function characters(text: string): string[] {
  return Array.from(GRAPHEMES.segment(stripVTControlCharacters(text)), ({ segment }) => segment);
}

/** Places that a text takes on the screen; colours take none. */
export function width(text: string): number {
  return characters(text).length;
}

/** A text that is too long loses its colours and its end; one that fits is left as it is. */
function cut(text: string, columns: number): string {
  if (width(text) <= columns) return text;
  return `${characters(text)
    .slice(0, Math.max(0, columns - 1))
    .join('')}…`;
}

export interface Column {
  readonly title: string;
  readonly right?: boolean;
}

/** Rows in columns as wide as their widest cell, two spaces apart; colours do not count. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], paint: Paint): string[] {
  const widths = columns.map((column, index) => Math.max(width(column.title), ...rows.map((row) => width(row[index] ?? ''))));
  const line = (cells: readonly string[]) =>
    columns
      .map((column, index) => {
        const cell = cells[index] ?? '';
        const space = ' '.repeat(Math.max(0, (widths[index] ?? 0) - width(cell)));
        return column.right ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  return [paint.dim(line(columns.map((column) => column.title))), ...rows.map(line)];
}
