/**
 * Durations and quantities as Kubernetes writes them, in plain numbers. Neither throws: text that is none gives null, and the
 * caller knows which field to name.
 */
const DURATION_UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
export const DURATION = /^([0-9]{1,9}([.][0-9]{1,6})?(ms|s|m|h))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;

/** Milliseconds of a duration such as `250ms`, `1.5s` or `1m30s`; null when the text is none. */
export function durationMs(text: string): number | null {
  if (!DURATION.test(text)) return null;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(DURATION_PART))
    total += Number(amount) * DURATION_UNIT_MS[unit as keyof typeof DURATION_UNIT_MS];
  return total;
}

/** A duration as a person writes it: the largest unit that loses nothing. */
export function formatDuration(ms: number): string {
  for (const unit of ['h', 'm', 's'] as const) {
    if (ms > 0 && ms % DURATION_UNIT_MS[unit] === 0) return `${ms / DURATION_UNIT_MS[unit]}${unit}`;
  }
  return `${ms}ms`;
}

const QUANTITY_FACTOR = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
} as const;
export const QUANTITY = /^([0-9]{1,15}(?:[.][0-9]{1,9})?)([kMGTP]|[KMGTP]i)?$/;

/** Bytes of a quantity such as `256Mi`, `1.5G` or `1048576`, rounded up to a whole byte; null when the text is none. */
export function quantityBytes(text: string): number | null {
  const match = QUANTITY.exec(text);
  if (!match) return null;
  return Math.ceil(Number(match[1]) * QUANTITY_FACTOR[(match[2] ?? '') as keyof typeof QUANTITY_FACTOR]);
}

/** Bytes as a person writes them: the largest binary unit that loses nothing. */
export function formatQuantity(bytes: number): string {
  for (const unit of ['Pi', 'Ti', 'Gi', 'Mi', 'Ki'] as const) {
    if (bytes > 0 && bytes % QUANTITY_FACTOR[unit] === 0) return `${bytes / QUANTITY_FACTOR[unit]}${unit}`;
  }
  return `${bytes}`;
}
