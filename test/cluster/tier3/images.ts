/** The images of a node: ours as `npm run image` writes it, and the one that holds the namespaces of pods. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeImage } from '../../../scripts/image/archive.ts';
import { layersOf } from '../../../scripts/image/rootfs.ts';
import { requireProgram } from '../binaries.ts';
import { PAUSE_IMAGE } from './configuration.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url)).replace(/\/$/, '');

/** What the chart names when it is told nothing. */
export const IMAGE = `sluice:${version()}`;

/** Writes the archives and returns their files. */
export function writeImages(folder: string): readonly string[] {
  const [ours, pause] = [join(folder, 'sluice.tar'), join(folder, 'pause.tar')];
  writeImage(ours, layersOf(ROOT), { tag: IMAGE, version: version() });
  const content = { file: requireProgram('pause', process.env) };
  const entries = [{ type: 'file', path: 'pause', mode: 0o755, content } as const];
  writeImage(pause, [{ name: 'pause', entries }], { tag: PAUSE_IMAGE, version: '1', entrypoint: ['/pause'] });
  return [pause, ours];
}

function version(): string {
  const described: { readonly version: string } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return described.version;
}
