import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cacheFolder, findProgram, missingPrograms, requireProgram, testedTier } from '../cluster/binaries.ts';
import { moduleFile } from '../cluster/build.ts';
import { readArguments } from '../cluster/main.ts';

describe('programs of a control plane', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-programs-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const place = (path: string, mode = 0o755) => {
    const file = join(folder, path);
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, '#!/bin/sh\n');
    chmodSync(file, mode);
    return file;
  };
  const env = () => ({ XDG_CACHE_HOME: join(folder, 'cache'), KUBEBUILDER_ASSETS: join(folder, 'assets'), PATH: join(folder, 'path') });
  const cached = (program: string) => place(join(cacheFolder(env()).slice(folder.length + 1), program));

  it('are looked for in KUBEBUILDER_ASSETS, then in the cache', () => {
    expect(findProgram('kube-apiserver', env())).toBeNull();
    const inCache = cached('kube-apiserver');
    expect(findProgram('kube-apiserver', env())).toBe(inCache);
    const inAssets = place('assets/kube-apiserver');
    expect(findProgram('kube-apiserver', env())).toBe(inAssets);
  });

  it('are taken from PATH for etcd alone: a kubectl there is of any version', () => {
    const etcd = place('path/etcd');
    place('path/kubectl');
    expect(findProgram('etcd', env())).toBe(etcd);
    expect(findProgram('kubectl', env())).toBeNull();
  });

  it('must be executable', () => {
    place('assets/etcd', 0o644);
    expect(findProgram('etcd', env())).toBeNull();
    expect(() => requireProgram('etcd', env())).toThrow(/etcd is not on this machine: npm run test:cluster gets it/);
  });

  it('decide which tier is tested', () => {
    expect(testedTier(env())).toBeNull();
    expect(missingPrograms(1, env())).toEqual(['etcd', 'kube-apiserver']);
    place('path/etcd');
    cached('kube-apiserver');
    expect(testedTier(env())).toBe(1);
    expect(testedTier({ ...env(), SLUICE_TEST_CLUSTER: '2' })).toBe(2);
    expect(missingPrograms(2, env())).toEqual(['kube-controller-manager', 'kube-scheduler', 'kubectl']);
  });
});

describe('go.mod of the build', () => {
  const kubernetes =
    'module k8s.io/kubernetes\n\ngo 1.25.0\n\ngodebug default=go1.25\n\nreplace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/x => k8s.io/x v1\n)\n';

  it('takes every library of the staging folder from its own module', () => {
    const module = moduleFile(kubernetes);
    expect(module).toContain('\ngo 1.25.0\n');
    expect(module).toContain('\ngodebug default=go1.25\n');
    expect(module).toMatch(/^\tk8s\.io\/api => k8s\.io\/api v0\.\d+\.\d+$/m);
    expect(module).not.toContain('k8s.io/x');
  });

  it('does not guess', () => expect(() => moduleFile('module k8s.io/kubernetes\n')).toThrow(/has not the form/));
});

describe('arguments of test:cluster', () => {
  it.each([
    [[], { tier: 1, getOnly: false, rest: [] }],
    [['--tier', '2'], { tier: 2, getOnly: false, rest: [] }],
    [['--tier', '3'], { tier: 3, getOnly: false, rest: [] }],
    [['lease', '--tier=2', '-t', 'x', '--get'], { tier: 2, getOnly: true, rest: ['lease', '-t', 'x'] }],
  ])('%j', (args, request) => expect(readArguments(args)).toEqual(request));

  it.each([
    [['--tier', '4'], 'is 4'],
    [['--tier'], 'is empty'],
    [['--tier='], 'is empty'],
  ])('%j is refused', (args, message) => expect(() => readArguments(args)).toThrow(`--tier ${message}, expected 1`));
});
