import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { escapes, idlePatterns, violations } from './rules.ts';
import type { Source } from './scan.ts';

function filesOf(folder: string): Source[] {
  const url = new URL(`../../${folder}/`, import.meta.url);
  return readdirSync(url, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path, text: readFileSync(new URL(path, url), 'utf8') }));
}

const sources = filesOf('src');

describe('src/', () => {
  it('was seen', () => {
    expect(sources.length).toBeGreaterThan(40);
    expect(new Set(sources.map(({ path }) => path.split('/')[0])).size).toBeGreaterThan(6);
  });

  it('keeps the rules', () => expect(violations(sources)).toEqual([]));

  it('has the deciding files that the rules name', () => expect(idlePatterns(sources)).toEqual([]));
});

describe('test/', () => {
  // What the rules themselves are tried on names what it looks for.
  const tests = filesOf('test').filter(({ path }) => !path.startsWith('architecture/'));

  it('hides nothing from the checker', () => {
    expect(tests.length).toBeGreaterThan(100);
    expect(escapes(tests)).toEqual([]);
  });
});

describe('the rules see', () => {
  const plant = (path: string, text: string) => violations([{ path, text }]);

  it.each([
    ['a room that is not allowed', 'kv/a.ts', "import { x } from '../router/index.ts';", 'kv/ may not import router/'],
    ['a type import', 'kv/a.ts', "import type { X } from '../router/index.ts';", 'kv/ may not import router/'],
    ['a lazy import', 'kv/a.ts', "const x = await import('../router/index.ts');", 'kv/ may not import router/'],
    ['the type of an import', 'kv/a.ts', "type X = import('../router/index.ts').X;", 'kv/ may not import router/'],
    ['a re-export', 'kv/a.ts', "export * from '../router/index.ts';", 'kv/ may not import router/'],
    [
      'a way past the face',
      'kv/host/a.ts',
      "import { x } from '../../shared/clock.ts';",
      'which is inside shared/: import shared/index.ts',
    ],
    ['a way out of src', 'kv/a.ts', "import { x } from '../../test/x.ts';", 'which is outside src/'],
    ['a package that is not allowed', 'kv/a.ts', "import ky from '@scope/ky/deep';", 'kv/ may not import the package @scope/ky'],
    [
      'a package of one folder elsewhere',
      'platform/process/a.ts',
      "import type { V1Pod } from '@kubernetes/client-node';",
      'platform/ may not import the package @kubernetes/client-node outside platform/kubernetes/',
    ],
    [
      'a package of a folder in a folder, beside it',
      'kv/directory/memory.ts',
      "import { Redis } from 'ioredis';",
      'kv/ may not import the package ioredis outside kv/directory/redis/',
    ],
    ['a required package', 'kv/a.ts', "require.resolve('koffi');", 'kv/ may not import the package koffi'],
    ['a test library outside tests', 'kv/a.ts', "import { it } from 'vitest';", 'kv/ may not import the package vitest'],
    ['a room that is none', 'stuff/a.ts', '', '"stuff" is no room of src/'],
    ['process.env', 'kv/a.ts', 'const home = process.env.HOME;', 'only cli/ reads process.env'],
    ['process.argv in brackets', 'kv/a.ts', "const args = process['argv'];", 'only cli/ reads process.argv'],
    ['env taken from process', 'kv/a.ts', 'const { env } = process;', 'only cli/ reads process.env'],
    ['env imported', 'kv/a.ts', "import { env } from 'node:process';", 'only cli/ reads process.env'],
    ['await in a deciding file', 'controller/x/plan.ts', 'await later;', 'a deciding file has no await'],
    ['an async function in a deciding file', 'controller/x/plan.ts', 'export const f = async () => 1;', 'a deciding file has no async'],
    ['a clock in a deciding file', 'controller/x/plan.ts', 'const now = Date.now();', 'a deciding file has no Date.now'],
    ['a new date in a deciding file', 'controller/x/plan.ts', 'const now = new Date();', 'a deciding file has no new Date()'],
    ['randomness in a deciding file', 'controller/x/plan.ts', 'const r = Math.random();', 'a deciding file has no Math.random'],
    ['a print in a deciding file', 'controller/x/plan.ts', "console.log('x');", 'a deciding file has no console'],
    [
      'a random id in a deciding file',
      'controller/x/plan.ts',
      'const id = crypto.randomUUID();',
      'a deciding file has no crypto.randomUUID',
    ],
    ['a timer in a deciding file', 'controller/x/plan.ts', 'setTimeout(f, 1);', 'a deciding file has no setTimeout'],
    ['a long file', 'kv/a.ts', '\n'.repeat(401), '401 lines, at most 400'],
    ['an empty name', 'kv/utils/a.ts', '', 'the name "utils" says nothing'],
    ['an empty name of a file', 'kv/helpers.test.ts', '', 'the name "helpers" says nothing'],
    ['a double assertion', 'kv/a.ts', 'const x = 1 as unknown as string;', '"as unknown as" hides'],
    ['a silenced type checker', 'kv/a.ts', '// @ts-ignore\nconst x = 1;', '"@ts-ignore" hides'],
    ['a silenced linter', 'kv/a.ts', '// biome-ignore lint: because\nconst x = 1;', '"biome-ignore" hides'],
  ])('%s', (_what, path, text, message) => {
    const found = plant(path, text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(message);
  });

  it('rooms that import each other around a corner', () => {
    const found = violations([
      { path: 'kv/a.ts', text: "import '../telemetry/index.ts';" },
      { path: 'telemetry/a.ts', text: "import '../shared/index.ts';" },
      { path: 'shared/a.ts', text: "import '../kv/index.ts';" },
    ]);
    expect(found).toContain('kv/: rooms import each other: kv → telemetry → shared → kv');
    expect(found).toContain('shared/a.ts:1: shared/ may not import kv/');
    expect(found).toHaveLength(2);
  });

  it('the line', () => expect(plant('kv/a.ts', "\n\nimport x from 'ky';")).toEqual(['kv/a.ts:3: kv/ may not import the package ky']));

  it.each([
    [
      'what is allowed',
      'router/a.ts',
      "import { x } from '../engines/index.ts';\nimport express from 'express';\nimport { y } from './b/c.ts';",
    ],
    ['a package of one folder there', 'platform/kubernetes/a.ts', "await import('@kubernetes/client-node');"],
    ['a package of a folder in a folder there', 'kv/directory/redis/a.ts', "import { Redis } from 'ioredis';"],
    ['the face of one engine', 'cli/engine.ts', "await import('../engines/llamacpp/index.ts');"],
    [
      'names in comments and strings',
      'kv/a.ts',
      "// import x from 'ky'; process.env\nexport const text = \"import x from 'ky'; process.env\";",
    ],
    ['the environment in cli', 'cli/a.ts', 'export const home = process.env;'],
    ['a local called process', 'controller/x/plan.ts', 'export const f = (process: { fetch: number }) => process.fetch;'],
    ['await in a doing file', 'controller/x/apply.ts', 'await later;'],
  ])('no fault in %s', (_what, path, text) => expect(plant(path, text)).toEqual([]));
});
