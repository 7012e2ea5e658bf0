/** Manifest files: read together, and read again when one of them changes. */
import { createHash } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import {
  formatManifestErrors,
  type ManifestOptions,
  type PinnedContext,
  parseManifestFiles,
  type ReadManifest,
  type ReadTier,
  type ServingDeployment,
} from '../api/index.ts';
import type { Cancel, Clock } from '../shared/index.ts';

export type Manifests = {
  /** Of the contents; equal hashes mean that nothing changed. */
  readonly hash: string;
} & (
  | {
      readonly ok: true;
      readonly deployments: readonly ServingDeployment[];
      readonly manifests: readonly ReadManifest[];
      readonly tiers: readonly ReadTier[];
      readonly contexts: readonly PinnedContext[];
    }
  | { readonly ok: false; readonly text: string }
);

/** `text` of a refusal is ready to print: one line per error, with file and line. */
export function readManifests(files: readonly string[], options: ManifestOptions = {}): Manifests {
  const hash = createHash('sha256');
  const contents: { fileName: string; text: string }[] = [];
  const unreadable: string[] = [];
  for (const fileName of files) {
    try {
      const text = readFileSync(fileName, 'utf8');
      contents.push({ fileName, text });
      hash.update(text).update('\0');
    } catch (error) {
      unreadable.push(`${fileName}: ${readFailure(error)}`);
      hash.update('unreadable\0');
    }
  }
  const digest = hash.digest('hex');
  if (unreadable.length > 0) return { hash: digest, ok: false, text: unreadable.join('\n') };
  const result = parseManifestFiles(contents, options);
  if (!result.ok) return { hash: digest, ok: false, text: formatManifestErrors(result.errors) };
  const { deployments, manifests, tiers, contexts } = result;
  return { hash: digest, ok: true, deployments, manifests, tiers, contexts };
}

function readFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EISDIR') return 'is a folder; name the file in it';
  return error instanceof Error ? error.message : String(error);
}

/** Long enough for an editor to write the file, or to remove it and put another in its place. */
const DEBOUNCE_MS = 100;

/**
 * Calls back when the contents are not those of `hash` any more, also when that came about before the call, and again on every
 * further change. The folder is watched, not the file: editors replace files.
 */
export function watchManifests(files: readonly string[], hash: string, clock: Clock, onChange: (manifests: Manifests) => void): Cancel {
  let seen = hash;
  let cancel: Cancel = () => {};
  const look = () => {
    const now = readManifests(files);
    if (now.hash === seen) return;
    seen = now.hash;
    onChange(now);
  };
  const lookSoon = () => {
    cancel();
    cancel = clock.after(DEBOUNCE_MS, look);
  };
  const names = new Set(files.map((file) => basename(file)));
  const folders = new Set(files.map((file) => dirname(file)));
  const watchers: FSWatcher[] = Array.from(folders, (folder) =>
    watch(folder, (_event, name) => {
      if (name === null || names.has(name)) lookSoon();
    }),
  );
  // A folder that is gone has nothing to say any more; what runs goes on as it is.
  for (const watcher of watchers) watcher.on('error', () => watcher.close());
  lookSoon();
  return () => {
    cancel();
    for (const watcher of watchers) watcher.close();
  };
}
