/** What scripts answer, read back into values; anything else is a fault, never a guess. */
import { DirectoryFault } from '../shared/fault.ts';
import type { Life } from '../shared/port.ts';

/** Entries per instance after the line of its life. */
type Figures = readonly unknown[];

export function readWord<const Word extends string>(reply: unknown, words: readonly Word[]): Word {
  const found = words.find((word) => word === reply);
  return found ?? unexpected(words.join(' or '), reply);
}

export function readCount(value: unknown): number {
  const number = typeof value === 'string' ? Number(value) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : unexpected('a number', value);
}

export function readRows(reply: unknown): readonly unknown[] {
  return Array.isArray(reply) ? reply : unexpected('a list', reply);
}

/** Lives, each followed by as many figures as `read` takes. */
export function readLives<T>(reply: unknown, read: (figures: Figures) => T): (Life & T)[] {
  const rows = readRows(reply);
  const starts = rows.flatMap((row, at) => (typeof row === 'string' && row.includes('\n') ? [at] : []));
  if (rows.length > 0 && starts[0] !== 0) unexpected('a life first', rows[0]);
  return starts.map((start, index) => {
    const [, incarnation = '', instance = ''] = String(rows[start]).split('\n');
    return { instance, incarnation, ...read(rows.slice(start + 1, starts[index + 1])) };
  });
}

function unexpected(expected: string, reply: unknown): never {
  throw new DirectoryFault(
    'incompatible',
    `a script of the directory answered ${JSON.stringify(reply)?.slice(0, 100)}, expected ${expected}`,
    {
      maybeApplied: true,
    },
  );
}
