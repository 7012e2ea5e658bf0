/**
 * What a bench reports: ratios of ours to a baseline, each taken within one repeat, so that a machine that slows down for a
 * while moves both sides of a ratio. Absolute figures stand beside them to judge whether a ratio means anything.
 */
import { median } from './quantiles.ts';

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** One contender's figure of one repeat. */
export interface Sample {
  readonly repeat: number;
  readonly contender: string;
  readonly metric: string;
  readonly value: number;
}

export interface Compared {
  /** `<metric>.<baseline>` → ours divided by the baseline's. */
  readonly ratio: Readonly<Record<string, Spread>>;
  /** `<metric>` → contender → its own figure. */
  readonly absolute: Readonly<Record<string, Readonly<Record<string, Spread>>>>;
  /** Ratios left out, with the reason. */
  readonly omitted: readonly string[];
}

/** Median, smallest and largest, or null for no values. */
export function spread(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Ratios of `ours` to every other contender, repeat by repeat. A repeat counts only when both sides have a finite figure and the
 * baseline's is above `floor` (in the metric's unit): below it the ratio would be of noise. When that removes any repeat, the
 * omission is told.
 */
export function compare(samples: readonly Sample[], ours: string, floor: (metric: string) => number = () => 0): Compared {
  const ratio: Record<string, Spread> = {};
  const absolute: Record<string, Record<string, Spread>> = {};
  const omitted: string[] = [];
  for (const metric of unique(samples.map((sample) => sample.metric))) {
    const byContender = new Map<string, Map<number, number>>();
    for (const sample of samples) {
      if (sample.metric !== metric || !Number.isFinite(sample.value)) continue;
      const repeats = byContender.get(sample.contender) ?? new Map<number, number>();
      byContender.set(sample.contender, repeats.set(sample.repeat, sample.value));
    }
    const own = byContender.get(ours);
    for (const [contender, repeats] of byContender) {
      const figures = spread([...repeats.values()]);
      if (figures) absolute[metric] = { ...absolute[metric], [contender]: figures };
      if (contender === ours || !own) continue;
      const paired = [...repeats].filter(([repeat, value]) => own.has(repeat) && value > floor(metric));
      const ratios = spread(paired.map(([repeat, value]) => (own.get(repeat) ?? Number.NaN) / value));
      if (ratios) ratio[`${metric}.${contender}`] = ratios;
      if (paired.length < repeats.size) {
        omitted.push(
          `${metric}.${contender}: ${repeats.size - paired.length} of ${repeats.size} repeats (no pair, or baseline too small to divide by)`,
        );
      }
    }
  }
  return { ratio, absolute, omitted };
}

/** Order of the contenders in one repeat: rotated, and reversed every other time, so that none is always first or after the same one. */
export function rotate<T>(contenders: readonly T[], repeat: number): T[] {
  const shift = contenders.length === 0 ? 0 : repeat % contenders.length;
  const order = [...contenders.slice(shift), ...contenders.slice(0, shift)];
  return repeat % 2 === 0 ? order : order.reverse();
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}
