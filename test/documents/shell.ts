/** A shell that runs command lines of documents as they stand there, with `sluice` of this checkout and kubectl of the tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { ROOT } from './commands.ts';

export interface ShellOptions {
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
  /** Path of kubectl; absent where no command needs it. */
  readonly kubectl?: string;
}

export interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const FUNCTIONS = `
sluice() { "$NODE" "$ROOT/src/cli/main.ts" "$@"; }
npx() { [ "$1" = sluice ] && shift && sluice "$@"; }
npm() { [ "$1 $2 $3" = "run sluice --" ] && shift 3 && sluice "$@"; }
kubectl() { "$KUBECTL" "$@"; }
curl() { command curl -sS -D head "$@"; }
`;

/**
 * Runs it to its end, or until it has printed what `until` wants: then it is ended, as a user ends what follows or forwards.
 * @param names what stands for words in capitals, such as NAME
 */
export function runDocumented(
  command: string,
  { folder, env, kubectl = 'false' }: ShellOptions,
  { names = {}, until }: { readonly names?: Readonly<Record<string, string>>; readonly until?: RegExp } = {},
): Promise<Said> {
  const line = Object.entries(names).reduce((text, [name, value]) => text.replaceAll(name, value), command);
  const child = spawn('bash', ['-eu', '-c', `${FUNCTIONS}\n${line}`], {
    cwd: folder,
    // A group of its own: what the shell started ends with it.
    detached: true,
    env: { ...process.env, NO_COLOR: '1', NODE: process.execPath, ROOT, KUBECTL: kubectl, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  const hear = () => {
    if (until?.test(out + err)) endGroup(child);
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    hear();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
    hear();
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGTERM');
  } catch {
    // It has ended by itself.
  }
}
