/** What a change would do, in words. Pure. */
import type { Difference } from '../../api/index.ts';
import type { Changes, PartChange } from '../../controller/index.ts';

const MAX_VALUE = 60;
const PART_WIDTH = 10;

export function differenceLines(found: readonly Difference[]): string[] {
  const width = Math.max(0, ...found.map(({ path }) => path.length));
  return found.map(({ path, before, after }) => `  ${path.padEnd(width)}  ${valueText(before)} → ${valueText(after)}`);
}

function valueText(value: unknown): string {
  if (value === undefined) return '(absent)';
  const text = JSON.stringify(value);
  return text.length <= MAX_VALUE ? text : `${text.slice(0, MAX_VALUE - 1)}…`;
}

export function changeLines({ parts, newFamily }: Changes): string[] {
  const lines = parts.map((part) => `  ${part.part.padEnd(PART_WIDTH)}${partText(part, newFamily)}`);
  if (!newFamily) return lines;
  const all = 'Old and new instances cannot exchange KV: the new pools come up whole beside the old ones, which takes room for both,';
  return [
    ...lines,
    '',
    `  ${all}`,
    '  and take over together when all of them are ready. Blocks that are in the KV cache are not used again.',
  ];
}

/** Whether anything that runs is started, replaced or ended. */
export function changesAnything({ parts }: Changes): boolean {
  return parts.some(({ before, after, because }) => before !== after || because.length > 0);
}

function partText({ part, before, after, because }: PartChange, newFamily: boolean): string {
  const members = (count: number) => `${count} ${part === 'router' ? 'router' : 'instance'}${count === 1 ? '' : 's'}`;
  if (before === 0) return `${members(after)} to start`;
  if (after === 0) return `${members(before)} to drain and end, when what takes over serves`;
  const size = after > before ? `, then ${after - before} more` : after < before ? `, and ${before - after} fewer` : '';
  if (because.length > 0) {
    const how = newFamily && part !== 'router' ? 'all together' : 'one at a time, with room for one more';
    return `${members(Math.min(before, after))} replaced, ${how}${size}   because of ${because.join(', ')}`;
  }
  if (after > before) return `${members(after - before)} more; the ${before} that run stay`;
  if (after < before) return `${members(before - after)} drained and ended; ${after} stay`;
  return `stay${before === 1 ? 's' : ''} as ${before === 1 ? 'it is' : 'they are'}`;
}
