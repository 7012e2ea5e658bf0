/** The rules over all sources: sources in, sentences about what breaks a rule out. */
import { posix } from 'node:path';
import { COMPOSITION_ROOT, DECIDING, EMPTY_NAMES, FACES, MAX_LINES, ROOMS, TEST_PACKAGES } from './rooms.ts';
import { type Scan, type Source, scan, type Use } from './scan.ts';

interface File {
  readonly path: string;
  readonly room: string;
  readonly isTest: boolean;
  readonly lines: number;
  readonly scan: Scan;
}

/** Every violation as `path:line: what is wrong`, sorted. Empty = all is well. */
export function violations(sources: readonly Source[]): string[] {
  const files = sources.map(read);
  return [...files.flatMap(fileViolations), ...roomCycles(files)].sort();
}

/** Deciding patterns that match none of `sources`. */
export function idlePatterns(sources: readonly Source[]): string[] {
  return DECIDING.filter((pattern) => !sources.some(({ path }) => pattern.test(path))).map(String);
}

function read(source: Source): File {
  return {
    path: source.path,
    room: source.path.split('/')[0] ?? '',
    // A contract is the suite that every adapter of a port passes; its adapters' tests call it.
    isTest: /\.(?:test|contract)\.ts$/.test(source.path),
    lines: source.text.split('\n').length - 1,
    scan: scan(source),
  };
}

/** What tests and benches are held to as well: types that hide nothing. */
export function escapes(sources: readonly Source[]): string[] {
  return sources.map(read).flatMap(escapesOf).sort();
}

function escapesOf({ path, scan }: File): string[] {
  return scan.escapes.map(({ line, what }) => `${path}:${line}: "${what}" hides what the checker would say: fix the type instead`);
}

function fileViolations(file: File): string[] {
  const at = (use: Use, text: string) => `${file.path}:${use.line}: ${text}`;
  const found = file.scan.imports.flatMap((use) => importViolation(file, use.what).map((text) => at(use, text)));
  if (!ROOMS[file.room]) found.push(`${file.path}:1: "${file.room}" is no room of src/ (see DESIGN, section 5)`);
  if (file.lines > MAX_LINES) found.push(`${file.path}:1: ${file.lines} lines, at most ${MAX_LINES} are allowed: split it by concern`);
  for (const part of file.path.replace(/(\.test|\.contract)?\.ts$/, '').split('/')) {
    if (EMPTY_NAMES.includes(part)) found.push(`${file.path}:1: the name "${part}" says nothing about what is inside`);
  }
  found.push(...escapesOf(file));
  if (file.isTest) return found;
  if (file.room !== COMPOSITION_ROOT) {
    for (const use of file.scan.surroundings)
      found.push(at(use, `only ${COMPOSITION_ROOT}/ reads ${use.what}: take the value as a parameter`));
  }
  if (DECIDING.some((pattern) => pattern.test(file.path))) {
    for (const use of file.scan.impure) found.push(at(use, `a deciding file has no ${use.what}: take its result as a parameter`));
  }
  return found;
}

function importViolation(file: File, module: string): string[] {
  if (module.startsWith('node:')) return [];
  if (!module.startsWith('.')) return packageViolation(file, module);
  const target = posix.normalize(posix.join(posix.dirname(file.path), module));
  if (target.startsWith('..')) return [`imports ${module}, which is outside src/`];
  const room = target.split('/')[0] ?? '';
  if (room === file.room) return [];
  if (!ROOMS[file.room]?.rooms.includes(room)) return [`${file.room}/ may not import ${room}/`];
  if (!FACES.some((face) => face.test(target))) return [`imports ${target}, which is inside ${room}/: import ${room}/index.ts`];
  return [];
}

function packageViolation(file: File, module: string): string[] {
  const name = module
    .split('/')
    .slice(0, module.startsWith('@') ? 2 : 1)
    .join('/');
  const room = ROOMS[file.room];
  const inside = room?.inside ?? {};
  const own = Object.keys(inside).filter((folder) => file.path.startsWith(`${file.room}/${folder}/`));
  const allowed = [...(room?.packages ?? []), ...own.flatMap((folder) => inside[folder] ?? []), ...(file.isTest ? TEST_PACKAGES : [])];
  if (allowed.includes('*') || allowed.includes(name)) return [];
  const only = Object.keys(inside).find((other) => inside[other]?.includes(name));
  return [`${file.room}/ may not import the package ${name}${only === undefined ? '' : ` outside ${file.room}/${only}/`}`];
}

/** Rooms that import each other, directly or around a corner. */
function roomCycles(files: readonly File[]): string[] {
  const edges = new Map<string, Set<string>>();
  for (const file of files) {
    if (file.isTest) continue;
    const targets = edges.get(file.room) ?? new Set<string>();
    edges.set(file.room, targets);
    for (const { what } of file.scan.imports) {
      if (!what.startsWith('.')) continue;
      const room = posix.join(posix.dirname(file.path), what).split('/')[0] ?? '';
      if (room !== file.room && room !== '..') targets.add(room);
    }
  }
  return [...edges.keys()].flatMap((start) => {
    const way = wayBack(start, edges);
    // A cycle is told once, from the room that comes first in the alphabet.
    return way?.every((room) => room >= start) ? [`${start}/: rooms import each other: ${[...way, start].join(' → ')}`] : [];
  });
}

function wayBack(start: string, edges: ReadonlyMap<string, ReadonlySet<string>>): string[] | null {
  const seen = new Set<string>();
  const ways: string[][] = [[start]];
  for (let way = ways.shift(); way; way = ways.shift()) {
    for (const next of edges.get(way.at(-1) ?? '') ?? []) {
      if (next === start) return way;
      if (seen.has(next)) continue;
      seen.add(next);
      ways.push([...way, next]);
    }
  }
  return null;
}
