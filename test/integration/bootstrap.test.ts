import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const SCRIPTS = fileURLToPath(new URL('../../scripts', import.meta.url));
/** Stands in for npm: notes that it was called, does what FAKE_NPM says, and makes node_modules. `held`: only once there is a file `go`. */
const FAKE_NPM = `
const fs = require('node:fs');
fs.appendFileSync('calls', process.argv.slice(2).join(' ') + '\\n');
console.log('noise of npm');
if (process.env.FAKE_NPM === 'offline') { console.error('npm error code ENOTFOUND'); process.exit(1); }
if (process.env.FAKE_NPM === 'full') { console.error('npm error code ENOSPC'); process.exit(1); }
const install = () => {
  // The test is over, and its folder gone.
  if (!fs.existsSync('calls')) process.exit(1);
  if (process.env.FAKE_NPM === 'held' && !fs.existsSync('go')) setTimeout(install, 20);
  else fs.mkdirSync('node_modules', { recursive: true });
};
install();
`;
const MAIN = `
if (process.argv.includes('wait')) {
  process.on('SIGTERM', () => process.exit(9));
  setInterval(() => {}, 1000);
} else process.exitCode = process.argv.includes('fail') ? 3 : 0;
console.log(JSON.stringify(process.argv.slice(2)));
`;

const POLL = { timeout: 60_000, interval: 20 };
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sluice-bootstrap-'));
  cpSync(SCRIPTS, join(root, 'scripts'), { recursive: true });
  mkdirSync(join(root, 'src/cli'), { recursive: true });
  writeFileSync(join(root, 'src/cli/main.ts'), MAIN);
  writeFileSync(join(root, 'npm-cli.js'), FAKE_NPM);
  writeFileSync(join(root, 'package-lock.json'), '{"packages": {"": {}}}');
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function start(args: string[], env: Record<string, string> = {}): ChildProcess {
  const script = args[0]?.endsWith('.mjs') ? [] : ['scripts/bootstrap.mjs'];
  return spawn(process.execPath, [...script, ...args], {
    cwd: root,
    env: { PATH: process.env['PATH'] ?? '', npm_execpath: join(root, 'npm-cli.js'), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function run(args: string[], env: Record<string, string> = {}) {
  const child = start(args, env);
  const { stdout, stderr } = child;
  if (!stdout || !stderr) throw new Error('no pipes');
  const [out, err, [code]] = await Promise.all([text(stdout), text(stderr), once(child, 'close')]);
  return { out, err, code };
}

function installs(): string[] {
  return existsSync(join(root, 'calls')) ? readFileSync(join(root, 'calls'), 'utf8').trimEnd().split('\n') : [];
}

describe('the bootstrap', () => {
  it('installs once, keeps standard output clean, passes arguments and exit code on', async () => {
    const first = await run(['start', '--once', 'fail']);
    expect(first).toMatchObject({ out: '["start","--once","fail"]\n', code: 3 });
    expect(first.err).toMatch(/installing 0 packages.*\n.*installed after \d+ s/);
    const second = await run(['sluice', 'top']);
    expect(second).toEqual({ out: '["top"]\n', err: '', code: 0 });
    expect(installs()).toHaveLength(1);
  });

  it('installs again when the lock file changes', async () => {
    await run(['sluice']);
    writeFileSync(join(root, 'package-lock.json'), '{"packages": {"": {"version": "2"}}}');
    await run(['sluice']);
    expect(installs()).toHaveLength(2);
  });

  it('leaves development packages out when asked, and brings them when a command needs them', async () => {
    await run(['sluice'], { SLUICE_OMIT_DEV: '1' });
    await run(['sluice']);
    expect(installs()).toEqual([expect.stringContaining('--omit=dev')]);
    await run(['test']);
    expect(installs()[1]).not.toContain('--omit=dev');
    expect(await run(['test'], { SLUICE_OMIT_DEV: '1' })).toMatchObject({ code: 2, err: expect.stringContaining('unset SLUICE_OMIT_DEV') });
  });

  it('lets one of two install while the other waits', async () => {
    const installing = run(['sluice', 'a'], { FAKE_NPM: 'held' });
    await expect.poll(() => installs(), POLL).toHaveLength(1);
    const waiting = start(['sluice', 'b']);
    const ended = once(waiting, 'close');
    let said = '';
    waiting.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
    });
    await expect.poll(() => said, POLL).toContain('waiting for it');
    writeFileSync(join(root, 'go'), '');
    expect(await ended).toEqual([0, null]);
    expect(await installing).toMatchObject({ code: 0 });
    expect(installs()).toHaveLength(1);
  });

  it('takes over the lock of a killed owner', async () => {
    const dead = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(dead, 'close');
    mkdirSync(join(root, '.install-lock'));
    writeFileSync(join(root, '.install-lock/owner.json'), JSON.stringify({ pids: [dead.pid], host: hostname() }));
    expect(await run(['sluice'])).toMatchObject({ code: 0 });
    expect(existsSync(join(root, '.install-lock'))).toBe(false);
  });

  it.each([
    ['offline', 'the package registry could not be reached (ENOTFOUND)'],
    ['full', 'the disk is full'],
  ])('says what to do when npm fails: %s', async (FAKE_NPM, message) => {
    const { out, err, code } = await run(['sluice'], { FAKE_NPM });
    expect({ out, code }).toEqual({ out: '', code: 1 });
    expect(err).toContain(message);
    expect(existsSync(join(root, '.install-lock'))).toBe(false);
  });

  it('sends SIGTERM on and ends with the exit code of what it ran', async () => {
    await run(['sluice']);
    const child = start(['sluice', 'wait']);
    if (!child.stdout) throw new Error('no pipe');
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([9, null]);
  });

  it('refuses an unknown verb', async () => {
    expect(await run(['strat'])).toMatchObject({ code: 2, out: '', err: expect.stringContaining('unknown verb "strat"') });
    expect(await run(['constructor'])).toMatchObject({ code: 2 });
  });

  it('answers to the name sluice', async () =>
    expect(await run(['scripts/sluice.mjs', 'explain', 'x'])).toMatchObject({ out: '["explain","x"]\n' }));
});
