/** Writes the files of the image below a folder: for builders that make their own layers, such as the Dockerfile. */
import { chmodSync, chownSync, copyFileSync, lutimesSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Layer } from './rootfs.ts';
import type { Entry } from './tar.ts';

/** Folders that somebody owns are given to that user where we may, that is, when we are root. */
export function writeFolder(folder: string, layers: readonly Layer[]): void {
  const entries = layers.flatMap((layer) => layer.entries);
  mkdirSync(folder, { recursive: true });
  for (const entry of entries) writeEntry(join(folder, entry.path), entry);
  // Deepest first: what is written into a folder changes its time.
  for (const { type, path } of entries.toSorted((a, b) => b.path.length - a.path.length)) {
    (type === 'link' ? lutimesSync : utimesSync)(join(folder, path), 0, 0);
  }
}

function writeEntry(path: string, entry: Entry): void {
  mkdirSync(dirname(path), { recursive: true });
  switch (entry.type) {
    case 'folder':
      mkdirSync(path, { recursive: true });
      chmodSync(path, entry.mode);
      if (entry.owner !== undefined && process.getuid?.() === 0) chownSync(path, entry.owner, entry.owner);
      return;
    case 'file':
      if ('file' in entry.content) copyFileSync(entry.content.file, path);
      else writeFileSync(path, entry.content.bytes);
      chmodSync(path, entry.mode);
      return;
    case 'link':
      symlinkSync(entry.target, path);
      return;
  }
}
