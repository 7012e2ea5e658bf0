// The gates. All of them run, so that one run shows everything that is wrong; one line each, and what a failed one said.
import { spawn } from 'node:child_process';
import { childEnvironment, exit, pinnedNode, ROOT, withSignals } from './launch.mjs';

const GATES = [
  { name: 'types', command: ['tsc', '--noEmit', '-p', '.'] },
  { name: 'format and style (biome)', command: ['biome', 'ci', '--colors=off', '--error-on-warnings', '.'] },
  { name: 'lint (oxlint)', command: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'dead code (knip)', command: ['knip', '--no-progress'] },
  { name: 'generated files', command: ['node', 'scripts/generate.mjs', '--check'] },
];
const MAX_OUTPUT = 200_000;

/** Runs every gate and resolves to 0 only if all of them passed. */
export async function check() {
  let failed = 0;
  // Whoever reads our lines may stop early (`| head`); the exit code still has to come out right.
  process.stdout.on('error', (error) => {
    if (error.code !== 'EPIPE') throw error;
  });
  for (const gate of GATES) {
    const started = performance.now();
    const { code, signal, output } = await runGate(gate);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(`${code === 0 ? 'ok    ' : 'FAILED'}  ${gate.name.padEnd(26)} ${seconds.padStart(6)} s\n`);
    if (code === 0) continue;
    failed += 1;
    process.stdout.write(`${output.trimEnd().replace(/^/gm, '  ')}\n`);
    if (signal) return code;
  }
  return failed === 0 ? 0 : 1;
}

async function runGate({ command: [program, ...args] }) {
  const child = spawn(program === 'node' ? pinnedNode() : `${ROOT}/node_modules/.bin/${program}`, args, {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: childEnvironment(true),
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output = (output + text).slice(0, MAX_OUTPUT);
    });
  }
  return { ...(await withSignals(child, () => exit(child))), output };
}
