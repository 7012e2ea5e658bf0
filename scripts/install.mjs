// Brings node_modules to what package-lock.json names. The stamp file in node_modules says which lock file it was made from.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { acquireLock } from './install-lock.mjs';
import { exit, withSignals } from './launch.mjs';
import { startProgress } from './progress.mjs';
import { SetupError } from './setup-error.mjs';

const STAMP = 'node_modules/.install-stamp';
/** Bytes of npm's complaints that are kept; the end holds the reason. */
const KEPT_OUTPUT = 16_384;

/**
 * Installs when needed. `production` leaves the development packages out; `dev` says that the caller cannot do without them.
 * Throws SetupError. Two callers at the same time are served one after the other; the second finds the work done.
 */
export async function ensureInstalled({ root, production, dev }) {
  checkPlatform();
  if (production && dev) throw new SetupError('this command needs the development packages: unset SLUICE_OMIT_DEV', 2);
  const lockFile = readFileSync(`${root}/package-lock.json`, 'utf8');
  const digest = createHash('sha256').update(lockFile).digest('hex');
  const packages = JSON.parse(lockFile).packages;
  const done = () => isInstalled({ root, digest, packages, dev });
  if (done()) return;
  const lock = await acquireLock(`${root}/.install-lock`, (message) => process.stderr.write(`sluice: ${message}\n`));
  try {
    if (done()) return;
    await npmCi({ root, production, wanted: wantedPackages(packages, production), lock });
    writeFileSync(`${root}/${STAMP}`, `${digest} ${production ? 'production' : 'full'}\n`);
  } finally {
    lock.release();
  }
}

function checkPlatform() {
  const glibc = process.report?.getReport().header.glibcVersionRuntime;
  if (process.platform === 'linux' && process.arch === 'x64' && glibc) return;
  const here = `${process.platform} ${process.arch}${process.platform === 'linux' && !glibc ? ' without glibc' : ''}`;
  throw new SetupError(`this machine is ${here}; Sluice runs on Linux x64 with glibc only for now (a container of that kind will do)`);
}

function isInstalled({ root, digest, packages, dev }) {
  const stamp = `${root}/${STAMP}`;
  if (existsSync(stamp)) {
    const [stamped, kind] = readFileSync(stamp, 'utf8').trim().split(' ');
    return stamped === digest && (kind === 'full' || !dev);
  }
  // Someone ran npm by hand: its own record of the tree says whether that is what we want.
  const record = `${root}/node_modules/.package-lock.json`;
  if (!existsSync(record)) return false;
  const there = JSON.parse(readFileSync(record, 'utf8')).packages;
  if (!wantedPackages(packages, false).every((path) => there[path]?.version === packages[path].version)) return false;
  writeFileSync(stamp, `${digest} full\n`);
  return true;
}

/** Paths of the packages that an install on this machine must bring. */
function wantedPackages(packages, production) {
  const fits = (list, value) => !list || list.includes(value);
  return Object.keys(packages).filter((path) => {
    const entry = packages[path];
    if (path === '' || (production && entry.dev)) return false;
    // Optional packages are binaries of one platform each; those that name none belong to one of another platform.
    if (entry.optional && !(entry.os && fits(entry.libc, 'glibc'))) return false;
    return fits(entry.os, process.platform) && fits(entry.cpu, process.arch);
  });
}

async function npmCi({ root, production, wanted, lock }) {
  const present = () => wanted.filter((path) => existsSync(`${root}/${path}/package.json`)).length;
  const progress = startProgress({
    label: `installing ${wanted.length} packages named by package-lock.json (once; then only when it changes)`,
    detail: () => `${Math.min(present(), wanted.length)} of ${wanted.length} unpacked`,
  });
  const child = spawn(
    ...npmCommand([
      'ci',
      '--loglevel=error',
      '--fetch-retry-mintimeout=1000',
      '--fetch-retry-maxtimeout=8000',
      ...(production ? ['--omit=dev'] : []),
    ]),
    {
      cwd: root,
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  if (child.pid) lock.addProcess(child.pid);
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    complaints = (complaints + text).slice(-KEPT_OUTPUT);
  });
  const { code, signal } = await withSignals(child, () => exit(child)).catch((error) => {
    progress.stop('failed');
    if (error.code === 'ENOENT')
      throw new SetupError('npm is not on PATH; install Node.js with npm (20 or newer), then run the command again');
    throw error;
  });
  progress.stop(code === 0 ? 'installed' : 'failed');
  if (signal) throw new SetupError('the install was interrupted; run the command again to finish it', code);
  if (code !== 0) throw failure(code, complaints);
}

/** The npm that started us, when one did; else the one on PATH. */
function npmCommand(args) {
  const cli = process.env.npm_execpath ?? '';
  return /npm-cli\.[cm]?js$/.test(cli) && existsSync(cli) ? [process.execPath, [cli, ...args]] : ['npm', args];
}

function failure(code, complaints) {
  const network = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT)\b/.exec(
    complaints,
  );
  const said = complaints.trim() === '' ? '' : `\nnpm said:\n${complaints.trim().replace(/^/gm, '  ')}`;
  if (network) {
    return new SetupError(
      `the package registry could not be reached (${network[1]}), so the packages are not installed. ` +
        `Check the network, the proxy (HTTPS_PROXY) and \`npm config get registry\`, then run the command again.${said}`,
    );
  }
  if (/\bENOSPC\b/.test(complaints))
    return new SetupError(`the disk is full: the packages need about 700 MB; free some space and run the command again.${said}`);
  return new SetupError(`npm ci failed with exit code ${code}; nothing was started.${said}`);
}
