/** Engines on the tiny model in this process, and what tests ask them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../shared/index.ts';
import type { EngineCore, EngineRequest, FinishReason, HandOffTicket, PromptReport, Running, Sampling } from '../port.ts';
import { createLlamaCppEngine } from './engine.ts';
import type { LlamaCppOptions } from './options.ts';
import { uniformAt } from './sampling.ts';
import { ensureTinyModel } from './tinymodel.ts';

export const BLOCK_TOKENS = 16;
export const BLOCK_BYTES = 16_384;
const TOKEN_BYTES = BLOCK_BYTES / BLOCK_TOKENS;

/** Those of one test file, which calls `closeAll` at its end. */
export class TinyEngines {
  readonly folder = mkdtempSync(join(tmpdir(), 'sluice-tiny-'));
  readonly #modelPath = ensureTinyModel(this.folder);
  readonly #setup: Partial<LlamaCppOptions>;
  readonly #opened: EngineCore[] = [];

  /** @param setup what all of them have else than 16 sequences of 2,048 tokens, with HBM for all of those */
  constructor(setup: Partial<LlamaCppOptions> = {}) {
    this.#setup = setup;
  }

  async open(instance: string, change: Partial<LlamaCppOptions> = {}): Promise<EngineCore> {
    const sizes = { contextTokens: 2048, maxSequences: 16, ...this.#setup, ...change };
    const core = await createLlamaCppEngine({
      instance,
      role: 'mixed',
      modelName: 'tiny',
      modelPath: this.#modelPath,
      host: '127.0.0.1',
      blockTokens: BLOCK_TOKENS,
      hbmBytes: sizes.maxSequences * sizes.contextTokens * TOKEN_BYTES,
      hostBytes: 64 * 2 ** 20,
      leaseMs: 30_000,
      clock: systemClock,
      onWarning: () => undefined,
      ...sizes,
    });
    this.#opened.push(core);
    return core;
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.#opened.map((core) => core.close()));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export const GREEDY: Sampling = { temperature: 0, topP: 1, seed: 0, maxTokens: 24, ignoreEos: true, logprobs: null };
export const SEEDED: Sampling = { ...GREEDY, temperature: 0.8, seed: 77 };

/** Others for every seed, the same in every run. */
export function randomTokens(count: number, seed: number): Int32Array {
  return Int32Array.from({ length: count }, (_, at) => Math.floor(uniformAt(seed, at) * 320));
}

export function request(prompt: Int32Array, change: Partial<EngineRequest> = {}): EngineRequest {
  return { id: 'r', prompt, resumed: new Int32Array(0), sampling: GREEDY, salt: '', ticket: null, pullDeadlineMs: 10_000, ...change };
}

export interface Answer {
  readonly tokens: number[];
  readonly report: PromptReport;
  readonly reason: FinishReason;
}

/** @param watch called after every token */
export function generate(
  core: EngineCore,
  of: EngineRequest,
  watch: (tokens: readonly number[], running: Running) => void = () => undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const tokens: number[] = [];
    let report: PromptReport | undefined;
    const running = core.generate(of, {
      start: (given) => {
        report = given;
      },
      token: (token) => {
        tokens.push(token);
        watch(tokens, running);
      },
      end: (reason) => resolve({ tokens, report: report as PromptReport, reason }),
      error: reject,
    });
  });
}

export function prefill(core: EngineCore, of: EngineRequest): Promise<{ readonly ticket: HandOffTicket; readonly report: PromptReport }> {
  return new Promise((resolve, reject) => core.prefill(of, { done: (ticket, report) => resolve({ ticket, report }), error: reject }));
}
