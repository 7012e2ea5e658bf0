/** `npm run image -- --out FILE [--tag NAME] | --root FOLDER`: the container image of Sluice, without a container engine. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeImage } from './archive.ts';
import { writeFolder } from './folder.ts';
import { layersOf } from './rootfs.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const USAGE = `Usage: npm run image -- --out FILE [--tag NAME]    an archive for docker load, podman load, ctr images import
       npm run image -- --root FOLDER               the files alone, for builders that make their own layers

The image holds Node, the production packages with the llama.cpp engine, our sources, and this machine's glibc and C++ library. Equal
sources on equal machines give an equal archive. --tag defaults to sluice:<version of package.json>.
`;
const TAG = /^[a-z0-9]+(?:[._:/-]+[A-Za-z0-9]+)*$/;
const USAGE_ERROR = 2;

function main(args: string[]): number {
  const { values } = parseArgs({ args, options: { out: TEXT, tag: TEXT, root: TEXT, help: { type: 'boolean' } } });
  const { version }: { readonly version: string } = JSON.parse(readFileSync(`${ROOT}/package.json`, 'utf8'));
  const { out, root, tag = `sluice:${version}`, help } = values;
  if (help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if ((out === undefined) === (root === undefined)) throw new Wrong('one of --out and --root must be given');
  if (!TAG.test(tag)) throw new Wrong(`--tag is "${tag}", expected the name of an image such as registry.example.com/sluice:${version}`);
  const layers = layersOf(ROOT);
  if (root !== undefined) {
    if (existsSync(root) && readdirSync(root).length > 0) throw new Wrong(`--root ${root} is not empty`);
    writeFolder(resolve(root), layers);
    process.stdout.write(`${root}\n`);
    return 0;
  }
  const file = resolve(out ?? '');
  mkdirSync(dirname(file), { recursive: true });
  const image = writeImage(file, layers, { tag, version });
  for (const { name, digest, bytes } of image.layers) process.stdout.write(`${name.padEnd(10)}${megabytes(bytes)}  ${digest}\n`);
  process.stdout.write(`${tag}  ${image.digest}\n${out}\n`);
  return 0;
}

const TEXT = { type: 'string' } as const;

class Wrong extends Error {}

/** Whether it is about the command line, and no fault of ours. */
function isTold(error: Error): boolean {
  return error instanceof Wrong || ('code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`.padStart(9);
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Error) || !isTold(error)) throw error;
  process.stderr.write(`image: ${error.message}\n${USAGE}`);
  process.exitCode = USAGE_ERROR;
}
