/** Prompts as token ids, for engines of the built-in tiny model. Pure. */

/** Ids of this range are plain tokens of the tiny model (no BOS, EOS or chat mark). */
const FIRST_PLAIN = 16;
const PLAIN_TOKENS = 240;

export function randomTokens(count: number, random: () => number): number[] {
  return Array.from({ length: count }, () => FIRST_PLAIN + Math.floor(random() * PLAIN_TOKENS));
}

/** A whole number from `low` to `high`, its logarithm uniform: many short ones, few long ones. */
export function logUniform(low: number, high: number, random: () => number): number {
  return Math.min(high, Math.floor(low * ((high + 1) / low) ** random()));
}
