/**
 * What Sluice relies on of a pair of vLLM 0.32.0 with NixlConnector, and what its faults look like: stated once, held by a real pair and
 * by the simulated one. Checks that end an instance come last. Only urls are used.
 */
import { afterAll, beforeAll, describe } from 'vitest';
import { answers } from './vllm-answers.ts';
import { VllmBed, type VllmPair } from './vllm-bed.ts';
import { faults } from './vllm-faults.ts';
import { handOff } from './vllm-hand-off.ts';
import { refusals } from './vllm-refusals.ts';

/**
 * @param start a fresh pair, both idle, with a context of 4,096 tokens
 * @param startMs how long it may take
 */
export function vllmContract(name: string, start: () => Promise<VllmPair>, startMs = 20_000): void {
  describe(`${name}: vLLM's dialect`, () => {
    const bed = new VllmBed();

    beforeAll(async () => bed.take(await start()), startMs);

    afterAll(() => bed.pair.close());

    answers(bed);
    refusals(bed);
    handOff(bed);
    faults(bed);
  });
}
