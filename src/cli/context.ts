/** What the process was given, as a value: the only way commands see arguments, environment and terminal. */
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** How to run our own entry file. */
  readonly executable: string;
  readonly entry: readonly string[];
  /** Folder of this package. */
  readonly root: string;
  readonly cacheFolder: string;
  readonly runtimeFolder: string;
  readonly tempFolder: string;
}

export function processContext(): Context {
  const { env } = process;
  const user = process.getuid?.() ?? 0;
  const runtime = env['XDG_RUNTIME_DIR'];
  return {
    env,
    stdout: process.stdout,
    stderr: process.stderr,
    executable: process.execPath,
    entry: [fileURLToPath(new URL('./main.ts', import.meta.url))],
    root: fileURLToPath(new URL('../..', import.meta.url)),
    cacheFolder: join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sluice'),
    runtimeFolder: runtime ? join(runtime, 'sluice') : join(tmpdir(), `sluice-${user}`),
    tempFolder: tmpdir(),
  };
}
