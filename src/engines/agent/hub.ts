/** Where models of the hub lie once an engine has loaded them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SluiceError } from '../../shared/index.ts';

export interface Snapshot {
  readonly folder: string;
  /** The commit. */
  readonly revision: string;
}

const COMMIT = /^[0-9a-f]{40}$/;

/**
 * @param env where the user may have put the cache of the hub
 * @throws SluiceError invalid_request when it is not there
 */
export async function hubSnapshot(
  model: string,
  revision: string | null,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Snapshot> {
  const home = env['HF_HOME'] ?? join(env['XDG_CACHE_HOME'] ?? join(env['HOME'] ?? '/', '.cache'), 'huggingface');
  const folder = join(env['HF_HUB_CACHE'] ?? join(home, 'hub'), `models--${model.replaceAll('/', '--')}`);
  const commit = await commitOf(folder, revision ?? 'main');
  return { folder: join(folder, 'snapshots', commit), revision: commit };
}

async function commitOf(folder: string, revision: string): Promise<string> {
  if (COMMIT.test(revision)) return revision;
  const path = join(folder, 'refs', revision);
  try {
    const commit = (await readFile(path, 'utf8')).trim();
    if (COMMIT.test(commit)) return commit;
    throw new Error('it names no commit');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `the files of the model were not found in the cache of the hub (${why}): set HF_HOME or HF_HUB_CACHE to where the engine keeps them, or give the path of a folder`;
    throw new SluiceError('invalid_request', message, { param: 'model.source', cause });
  }
}
