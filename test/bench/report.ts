/** The result as JSON for machines and as a table for people. Pure. */
import type { Machine } from './machine.ts';
import type { Compared, Spread } from './ratio.ts';

export interface Report {
  readonly name: string;
  /** `<metric>.<baseline>` → ours divided by the baseline's. */
  readonly ratio: Compared['ratio'];
  /** What the baselines are, with versions. */
  readonly baseline: Readonly<Record<string, string>>;
  readonly runs: number;
  readonly machine: Machine;
  /** Own figures, to judge the ratios by; units in `units`. */
  readonly absolute: Compared['absolute'];
  readonly units: Readonly<Record<string, string>>;
  /** How it was measured, what was left out and why. */
  readonly notes: readonly string[];
}

export function renderReport(report: Report): string {
  const { machine } = report;
  const lines = [
    `${report.name}: ${report.runs} runs on ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB, Node ${machine.node}`,
    '',
  ];
  const ratios = Object.entries(report.ratio).map(([name, spread]) => [name, ...figures(spread)]);
  if (ratios.length > 0) lines.push(...renderTable(['ours / baseline', 'median', 'min', 'max'], ratios), '');
  const absolute = Object.entries(report.absolute).flatMap(([metric, byContender]) =>
    Object.entries(byContender).map(([contender, spread]) => [`${metric} (${report.units[metric] ?? '?'})`, contender, ...figures(spread)]),
  );
  if (absolute.length > 0) lines.push(...renderTable(['absolute', 'of', 'median', 'min', 'max'], absolute), '');
  const baselines = Object.entries(report.baseline).map(([name, what]) => `${name}: ${what}`);
  lines.push(...baselines, ...report.notes.map((note) => `note: ${note}`));
  return lines.join('\n');
}

/** Columns as wide as their widest cell; numbers to the right. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const render = (row: readonly string[]) =>
    row
      .map((cell, column) =>
        /^-?[\d.]+$/.test(cell) || /^(?:median|min|max)$/.test(cell)
          ? cell.padStart(widths[column] ?? 0)
          : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
  return [render(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(render)];
}

function figures(spread: Spread): string[] {
  return [spread.median, spread.min, spread.max].map(formatFigure);
}

/** Three significant digits, without exponent. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  return value.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
}
