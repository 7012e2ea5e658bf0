/** Takes the steps of a plan, in order. */
import type { Outcome, Platform, Step } from '../../platform/index.ts';

export interface Done {
  readonly step: Step;
  readonly outcome: Outcome;
}

/** Steps touch different objects, so one that fails does not hold up the others; the next plan sees what is left to do. */
export async function apply(platform: Platform, steps: readonly Step[]): Promise<Done[]> {
  const done: Done[] = [];
  for (const step of steps) done.push({ step, outcome: await platform.apply(step) });
  return done;
}
