/** What one engine step does and how long it takes. Pure. */

import { prefillChunkMs, stepMs } from '../costs/index.ts';
import type { EngineCosts } from '../port.ts';

export interface StepSequence {
  readonly computed: number;
  readonly target: number;
  readonly length: number;
  readonly decoding: boolean;
}

export interface Step<S extends StepSequence> {
  readonly ms: number;
  /** Prompts in the order in which they came, and how many of their tokens this step computes. */
  readonly prefills: readonly { readonly sequence: S; readonly tokens: number; readonly first: boolean }[];
  readonly decodes: readonly S[];
}

export interface StepRules {
  readonly costs: EngineCosts;
  /** Prompt tokens of one step, over all prompts. */
  readonly chunkTokens: number;
}

/**
 * Prompts get up to `chunkTokens`, first come first served; every sequence past its prompt gets one token. Both are in one step and
 * its time is the sum, as with chunked prefill. Null when there is nothing to do.
 *
 * @param fresh sequences of which no step has computed anything yet: they pay `prefillFixed`
 */
export function planStep<S extends StepSequence>(running: readonly S[], fresh: ReadonlySet<S>, rules: StepRules): Step<S> | null {
  const { costs, chunkTokens } = rules;
  const prefills: { sequence: S; tokens: number; first: boolean }[] = [];
  const decodes: S[] = [];
  let left = chunkTokens;
  let contextTokens = 0;
  let ms = 0;
  for (const sequence of running) {
    if (sequence.decoding) {
      decodes.push(sequence);
      contextTokens += sequence.length;
    } else if (left > 0) {
      const tokens = Math.min(left, sequence.target - sequence.computed);
      const first = fresh.has(sequence);
      prefills.push({ sequence, tokens, first });
      ms += prefillChunkMs(costs, tokens, sequence.computed) + (first ? costs.prefillFixed : 0);
      left -= tokens;
    }
  }
  if (prefills.length === 0 && decodes.length === 0) return null;
  if (decodes.length > 0) ms += stepMs(costs, decodes.length, contextTokens);
  return { ms, prefills, decodes };
}
