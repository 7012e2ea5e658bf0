#!/usr/bin/env node
// The way into Sluice on a bare machine: plain JavaScript for any Node >= 18, no dependency. It installs what the lock file names when
// that is missing or stale, then hands over to the pinned Node. Standard output belongs to the command: progress goes to standard error.
import { realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check } from './check.mjs';
import { ensureInstalled } from './install.mjs';
import { exec, pinnedNode, ROOT } from './launch.mjs';
import { SetupError } from './setup-error.mjs';

const MAIN = `${ROOT}/src/cli/main.ts`;

/** Verb -> what runs after the install. `dev` says whether it needs the development packages. */
const VERBS = {
  start: { dev: false, run: (args) => runMain(['start', ...args]) },
  sluice: { dev: false, run: runMain },
  bench: { dev: true, run: (args) => exec([`${ROOT}/test/bench/main.ts`, ...args], { cwd: ROOT }) },
  test: { dev: true, run: (args) => exec([`${ROOT}/node_modules/vitest/vitest.mjs`, 'run', ...args], { cwd: ROOT }) },
  'test:long': {
    dev: true,
    run: (args) =>
      exec([`${ROOT}/node_modules/vitest/vitest.mjs`, 'run', '--project', 'long', ...args], { cwd: ROOT, env: { SLUICE_TEST_LONG: '1' } }),
  },
  'test:engines': { dev: true, run: testEngines },
  'test:cluster': { dev: true, run: (args) => exec([`${ROOT}/test/cluster/main.ts`, ...args], { cwd: ROOT }) },
  check: { dev: true, run: () => check() },
  image: { dev: false, run: (args) => exec([`${ROOT}/scripts/image/main.ts`, ...args]) },
  generate: { dev: false, run: (args) => exec([`${ROOT}/scripts/generate.mjs`, ...args], { cwd: ROOT }) },
};

/** Where the code that Node makes of our TypeScript is kept: see `src/cli/context.ts`. */
function runMain(args) {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return exec([MAIN, ...args], { env: { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE || join(cache, 'sluice', 'compiled') } });
}

/** The tests of engines that are installed apart; arguments that are no flags name the engines, for example `vllm`. */
function testEngines(args) {
  const files = args.filter((word) => !word.startsWith('-')).map((engine) => `test/engines/${engine}`);
  const flags = args.filter((word) => word.startsWith('-'));
  const command = [`${ROOT}/node_modules/vitest/vitest.mjs`, 'run', '--project', 'engines', ...files, ...flags];
  return exec(command, { cwd: ROOT, env: { SLUICE_TEST_ENGINES: '1' } });
}

const USAGE = `usage: node scripts/bootstrap.mjs <${Object.keys(VERBS).join('|')}> [arguments]\n`;

/** Installs what `verb` needs, runs it with `args`, and resolves to the exit code. */
export async function bootstrap(verb, args) {
  const task = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
  if (!task) {
    process.stderr.write(`${verb ? `sluice: unknown verb "${verb}"\n` : ''}${USAGE}`);
    return 2;
  }
  try {
    await ensureInstalled({ root: ROOT, production: process.env.SLUICE_OMIT_DEV === '1', dev: task.dev });
    pinnedNode();
    return await task.run(args);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`sluice: ${error.message}\n`);
    return error.exitCode;
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await bootstrap(process.argv[2] ?? '', process.argv.slice(3));
}
