/** What the process was given, as a value: the only way commands see arguments, environment and terminal. */
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** For processes that we start from our own entry file. */
  readonly childEnv: Readonly<Record<string, string | undefined>>;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** How to run our own entry file. */
  readonly executable: string;
  readonly entry: readonly string[];
  /** Folder of this package. */
  readonly root: string;
  readonly cacheFolder: string;
  /** Code that was made of our TypeScript is kept there. */
  readonly compiledFolder: string;
  readonly runtimeFolder: string;
  readonly tempFolder: string;
}

export function processContext(): Context {
  const { env } = process;
  const user = process.getuid?.() ?? 0;
  const runtime = env['XDG_RUNTIME_DIR'];
  const cacheFolder = join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'sluice');
  const compiledFolder = env['NODE_COMPILE_CACHE'] || join(cacheFolder, 'compiled');
  return {
    env,
    // Before a process runs a line it can only learn it by this variable, and then even its entry file comes from there.
    childEnv: { ...env, NODE_COMPILE_CACHE: compiledFolder },
    stdout: process.stdout,
    stderr: process.stderr,
    executable: process.execPath,
    entry: [fileURLToPath(new URL('./main.ts', import.meta.url))],
    root: fileURLToPath(new URL('../..', import.meta.url)),
    cacheFolder,
    compiledFolder,
    runtimeFolder: runtime ? join(runtime, 'sluice') : join(tmpdir(), `sluice-${user}`),
    tempFolder: tmpdir(),
  };
}
