import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { weightsOf, weightsPath } from './weights.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-weights-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('weightsPath', () => {
  it('gives vllm a folder, and a name of the hub as it is', async () => {
    const model = join(folder, 'model');
    mkdirSync(model);
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) writeFileSync(join(model, name), '{}');
    expect(await weightsPath(model, 'vllm', folder)).toBe(model);
    expect(await weightsPath('org/name', 'vllm', folder)).toBe('org/name');
  });

  it('writes the built-in model as each engine reads it', async () => {
    expect(await weightsPath('builtin:tiny', 'llamacpp', folder)).toMatch(/\.gguf$/);
    expect(await weightsPath('builtin:tiny', 'vllm', folder)).toContain('sluice-tiny-vllm-');
  }, 60_000);

  it('is what an engine looks for by itself when it is told of the built-in model', async () => {
    expect(await weightsOf('builtin:tiny', 'llamacpp', folder)).toBe(await weightsPath('builtin:tiny', 'llamacpp', folder));
    expect(await weightsOf('/no/such.gguf', 'llamacpp', folder)).toBe('/no/such.gguf');
  }, 60_000);

  it('says what is wrong before any engine starts', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await expect(weightsPath(join(folder, 'none'), 'vllm', folder)).rejects.toThrow(
      `there is no folder ${join(folder, 'none')}: give one with`,
    );
    await expect(weightsPath(file, 'vllm', folder)).rejects.toThrow('is not a folder');
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    await expect(weightsPath(empty, 'vllm', folder)).rejects.toThrow('has no config.json, tokenizer.json, tokenizer_config.json');
    await expect(weightsPath(join(folder, 'none.gguf'), 'llamacpp', folder)).rejects.toThrow('there is no file');
  });
});
