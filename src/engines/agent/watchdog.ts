/**
 * Ends a group of processes when this process is gone, however it went: a shell that waits at the other end of a pipe. It runs in a
 * session of its own, so that nothing which ends this process' group ends it too.
 *
 * Engines do not do this themselves: vLLM's API server goes on when its parent is killed.
 */
import { spawn } from 'node:child_process';

export interface Watchdog {
  /** The group to end when the pipe breaks. */
  watch(group: number): void;
  /** The group is gone: nothing is left to end. */
  dismiss(): void;
}

/**
 * Two lines: which group, and that it may go home. A pipe that breaks before the second is what it is for. SIGTERM comes first, so that
 * what tidies up shared memory has a moment for it. (No `--` before the group: dash takes it for a number.)
 */
const SCRIPT = 'read -r group || exit 0; read -r done && exit 0; kill -15 "-$group"; sleep 1; kill -9 "-$group"';

/** @param onLost the watchdog itself ended unasked. */
export function startWatchdog(onLost: (why: string) => void): Watchdog {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  let dismissed = false;
  const lost = (why: string) => {
    if (!dismissed) onLost(why);
  };
  shell.on('error', (error) => lost(error.message));
  shell.on('exit', (code, signal) => lost(signal ?? `exit code ${code}`));
  // A write to one that has ended; `exit` tells.
  shell.stdin.on('error', () => undefined);
  shell.unref();
  return {
    watch: (group) => shell.stdin.write(`${group}\n`),
    dismiss() {
      dismissed = true;
      shell.stdin.end('done\n');
    },
  };
}
