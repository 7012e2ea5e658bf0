/** Tails over all runs of a contender: one short run has too few requests for a p99 of its own. Pure. */
import { quantiles } from './quantiles.ts';
import { formatFigure } from './report.ts';

/** TTFTs of one contender in one run, in ms. */
export interface Run {
  readonly workload: string;
  readonly contender: string;
  readonly ttftMs: readonly number[];
}

/** A line per workload: p99 of TTFT over all requests of all runs, ours against each baseline, with what leaving out any one run makes of the ratio. */
export function describeTails(runs: readonly Run[], ours: string): string[] {
  return [...new Set(runs.map(({ workload }) => workload))].map((workload) => {
    const here = runs.filter((run) => run.workload === workload);
    const mine = here.filter(({ contender }) => contender === ours);
    const others = [...new Set(here.map(({ contender }) => contender))].filter((contender) => contender !== ours);
    const lines = others.map((contender) =>
      compareTails(
        mine,
        here.filter((run) => run.contender === contender),
      ),
    );
    return `${workload}.ttftP99 over all runs: ${ours} ${formatFigure(tail(mine))} ms of ${count(mine)} requests${lines.join('')}`;
  });
}

function compareTails(mine: readonly Run[], theirs: readonly Run[]): string {
  const contender = theirs[0]?.contender ?? '';
  const ratio = tail(mine) / tail(theirs);
  const pairs = Math.min(mine.length, theirs.length);
  const without = Array.from({ length: pairs > 1 ? pairs : 0 }, (_, left) => tail(omit(mine, left)) / tail(omit(theirs, left)));
  const spread =
    without.length > 0 ? `, ${formatFigure(Math.min(...without))} to ${formatFigure(Math.max(...without))} leaving out one run` : '';
  return `; ${contender} ${formatFigure(tail(theirs))} ms of ${count(theirs)}: ratio ${formatFigure(ratio)}${spread}`;
}

function omit(runs: readonly Run[], left: number): Run[] {
  return runs.filter((_, index) => index !== left);
}

function tail(runs: readonly Run[]): number {
  return quantiles(runs.flatMap(({ ttftMs }) => ttftMs)).p99;
}

function count(runs: readonly Run[]): number {
  return runs.reduce((sum, { ttftMs }) => sum + ttftMs.length, 0);
}
