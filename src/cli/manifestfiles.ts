/** Manifest files: read together, and read again when one of them changes. */
import { createHash } from 'node:crypto';
import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { formatManifestErrors, parseManifestFiles, type ServingDeployment } from '../api/index.ts';
import type { Cancel, Clock } from '../shared/index.ts';

export type Manifests =
  | { readonly ok: true; readonly deployments: readonly ServingDeployment[] }
  | { readonly ok: false; readonly text: string };

/** `text` of a refusal is ready to print: one line per error, with file and line. */
export function readManifests(files: readonly string[]): Manifests {
  const contents: { fileName: string; text: string }[] = [];
  for (const fileName of files) {
    try {
      contents.push({ fileName, text: readFileSync(fileName, 'utf8') });
    } catch (error) {
      return { ok: false, text: `${fileName}: ${readFailure(error)}` };
    }
  }
  const result = parseManifestFiles(contents);
  return result.ok ? result : { ok: false, text: formatManifestErrors(result.errors) };
}

function readFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EISDIR') return 'is a folder; name the file in it';
  return error instanceof Error ? error.message : String(error);
}

const DEBOUNCE_MS = 100;

/**
 * Calls back when the contents differ from before. The folder is watched, not the file: editors replace files. A read in the middle
 * of a save is repaired by the event that ends the save.
 */
export function watchManifests(files: readonly string[], clock: Clock, onChange: (manifests: Manifests) => void): Cancel {
  let seen = contentHash(files);
  let cancel: Cancel = () => {};
  const look = () => {
    const now = contentHash(files);
    if (now === seen) return;
    seen = now;
    onChange(readManifests(files));
  };
  const names = new Set(files.map((file) => basename(file)));
  const folders = [...new Set(files.map((file) => dirname(file)))];
  const watchers: FSWatcher[] = folders.map((folder) =>
    watch(folder, (_event, name) => {
      if (name !== null && !names.has(name)) return;
      cancel();
      cancel = clock.after(DEBOUNCE_MS, look);
    }),
  );
  // A folder that is gone has nothing to say any more; what runs goes on as it is.
  for (const watcher of watchers) watcher.on('error', () => watcher.close());
  return () => {
    cancel();
    for (const watcher of watchers) watcher.close();
  };
}

function contentHash(files: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of files) {
    try {
      hash.update(readFileSync(file)).update('\0');
    } catch {
      hash.update('unreadable'); // between an editor's remove and rename; the next event looks again
    }
  }
  return hash.digest('hex');
}
