/** Sets of Unicode code points. */
export const LAST_CODE_POINT = 0x10ffff;

/** First and last code point. */
export type Range = readonly [first: number, last: number];

export class CodePoints {
  /** Ascending, neither touching nor overlapping. */
  readonly ranges: readonly Range[];

  private constructor(ranges: readonly Range[]) {
    this.ranges = ranges;
  }

  static of(ranges: readonly Range[]): CodePoints {
    const joined: [number, number][] = [];
    for (const [first, last] of [...ranges].sort((a, b) => a[0] - b[0])) {
      const before = joined.at(-1);
      if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
      else joined.push([first, last]);
    }
    return new CodePoints(joined);
  }

  static ofLetters(letters: string): CodePoints {
    return CodePoints.of(
      Array.from(letters, (letter) => {
        const point = letter.codePointAt(0) ?? 0;
        return [point, point] as const;
      }),
    );
  }

  complement(): CodePoints {
    const gaps: Range[] = [];
    let next = 0;
    for (const [first, last] of this.ranges) {
      if (first > next) gaps.push([next, first - 1]);
      next = last + 1;
    }
    if (next <= LAST_CODE_POINT) gaps.push([next, LAST_CODE_POINT]);
    return new CodePoints(gaps);
  }

  has(point: number): boolean {
    let low = 0;
    let high = this.ranges.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.ranges[middle]?.[1] ?? 0) < point) low = middle + 1;
      else high = middle;
    }
    return point >= (this.ranges[low]?.[0] ?? LAST_CODE_POINT + 1);
  }
}
