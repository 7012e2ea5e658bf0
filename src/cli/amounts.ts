/** Numbers as people read them. Pure. */

/** Three digits that count: `0.42 ms`, `12.3 ms`, `2.31 s`. */
export function milliseconds(ms: number): string {
  if (ms >= 999.5) return `${digits(ms / 1000)} s`;
  return `${digits(ms)} ms`;
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let unit = 0;
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : digits(value)} ${units[unit]}`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function digits(value: number): string {
  if (value >= 99.95) return String(Math.round(value));
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2);
}
