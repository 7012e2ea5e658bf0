/** The shared libraries that programs of the image need and bring not along: those of the machine that builds it. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Loaded by name when a host name is looked up; `ldd` does not see them. Newer glibc has them inside. */
const BY_NAME = ['libnss_dns.so.2', 'libnss_files.so.2', 'libresolv.so.2'];
/** Their licences ask to be passed on. */
const NOTICES = ['libc6', 'libgcc-s1', 'libstdc++6', 'gcc-12-base', 'gcc-14-base'].map((name) => `/usr/share/doc/${name}/copyright`);
const MAX_OUTPUT_BYTES = 1_000_000;

export interface Libraries {
  /** Absolute paths, at which the loader looks for them. */
  readonly files: readonly string[];
  readonly notices: readonly string[];
}

/** @throws {Error} when a program needs a library that this machine has not. */
export function librariesOf(programs: readonly string[], own: string): Libraries {
  const found = new Set<string>();
  for (const program of programs) for (const path of needed(program)) if (!path.startsWith(own)) found.add(path);
  const folders = new Set([...found].map((path) => path.slice(0, path.lastIndexOf('/'))));
  for (const folder of folders) for (const name of BY_NAME) if (existsSync(`${folder}/${name}`)) found.add(`${folder}/${name}`);
  return { files: [...found].toSorted(), notices: NOTICES.filter((path) => existsSync(path)) };
}

function needed(program: string): readonly string[] {
  const said = execFileSync('ldd', [program], { encoding: 'utf8', maxBuffer: MAX_OUTPUT_BYTES, stdio: ['ignore', 'pipe', 'pipe'] });
  const missing = said.split('\n').find((line) => line.includes('not found'));
  if (missing !== undefined) throw new Error(`${program} needs a library that this machine has not: ${missing.trim()}`);
  return parseLdd(said);
}

/** Paths in the output of `ldd`: `name => /path (0x…)`, and the loader itself, `/path (0x…)`. */
export function parseLdd(text: string): readonly string[] {
  return [...text.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/gm)].map((match) => match[1] ?? '');
}
