/** `npm run test:cluster -- [--tier 1|2|3] [--get] [vitest arguments]`: gets the programs of a cluster, then tests against them. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { createProgress } from '../bench/progress.ts';
import { type Environment, findProgram, missingPrograms, type Program, TIERS, type Tier } from './binaries.ts';
import { obtain } from './build.ts';
import { prepareMachine } from './tier3/packages.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export interface Request {
  readonly tier: Tier;
  /** Only get the programs and say where they are. */
  readonly getOnly: boolean;
  readonly rest: readonly string[];
}

const TIER_NAMES: Readonly<Record<string, Tier>> = { '1': 1, '2': 2, '3': 3 };

/** Reads the command line; throws with the usage when it is wrong. */
export function readArguments(args: readonly string[]): Request {
  const at = args.findIndex((word) => word === '--tier' || word.startsWith('--tier='));
  const word = args[at] ?? '';
  const taken = at === -1 ? 0 : word === '--tier' ? 2 : 1;
  const value = taken === 0 ? '1' : taken === 2 ? args[at + 1] : word.slice('--tier='.length);
  const others = taken === 0 ? args : args.toSpliced(at, taken);
  const tier = TIER_NAMES[value ?? ''];
  if (tier === undefined)
    throw new Error(
      `--tier is ${value || 'empty'}, expected 1 (etcd and API server), 2 (with controllers and scheduler) or 3 (with a node)`,
    );
  return { tier, getOnly: others.includes('--get'), rest: others.filter((other) => other !== '--get') };
}

async function main(args: readonly string[], env: Environment): Promise<number> {
  const { tier, getOnly, rest } = readArguments(args);
  const programs = new Set<Program>([...TIERS[tier], 'helm']);
  if (!(await get(tier, [...programs], env))) return 1;
  if (getOnly) {
    for (const program of programs) process.stdout.write(`${program.padEnd(24)} ${findProgram(program, env) ?? 'missing'}\n`);
    return 0;
  }
  return runTests(tier, rest);
}

/** Whether all is here now without which the tests of `tier` cannot run. What cannot be had is said. */
async function get(tier: Tier, programs: readonly Program[], env: Environment): Promise<boolean> {
  const progress = createProgress(process.stderr, performance.now(), () => performance.now());
  const say = (line: string) => progress.step(line);
  try {
    const obstacle = tier === 3 ? prepareMachine(env, say) : null;
    if (obstacle !== null) {
      progress.note(obstacle);
      return false;
    }
    const missing = programs.filter((program) => findProgram(program, env) === null);
    if (missing.length > 0) progress.note(`not on this machine: ${missing.join(', ')}`);
    for (const reason of await obtain(missing, { env, say })) progress.note(`cannot be had: ${reason}`);
    // Without Helm all but the chart is tested, and that is said.
    return missingPrograms(tier, env).length === 0;
  } finally {
    progress.end();
  }
}

function runTests(tier: Tier, rest: readonly string[]): Promise<number> {
  const command = ['node_modules/vitest/vitest.mjs', 'run', '--project', tier === 3 ? 'node' : 'cluster', ...rest];
  const child = spawn(process.execPath, command, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, SLUICE_TEST_CLUSTER: String(tier) },
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2), process.env);
  } catch (error) {
    process.stderr.write(`test:cluster: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
}
