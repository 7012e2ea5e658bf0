// Writes the files that come from the schemas of src/api, and the modules that come from kernels/*.wat. With --check it writes nothing and
// fails when one on disk differs.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generatedFiles } from '../src/api/crd/files.ts';
import { builtKernels } from './kernels.mjs';
import { ROOT } from './launch.mjs';

/** What is on disk; null = no such file. */
function onDisk(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return null;
  }
}

/** Where text on disk differs first, for people. */
function textDifference({ path, bytes }, found) {
  const [wantedLines, foundLines] = [bytes.toString().split('\n'), found.toString().split('\n')];
  const line = wantedLines.findIndex((text, index) => text !== foundLines[index]);
  const at = line === -1 ? wantedLines.length : line;
  return `${path}:${at + 1} is not what src/api says\n  on disk:   ${foundLines[at] ?? '(no line)'}\n  generated: ${wantedLines[at] ?? '(no line)'}`;
}

function moduleDifference({ path, source, bytes }, found) {
  const at = bytes.findIndex((byte, index) => byte !== found[index]);
  return `${path} is not what ${source} says: ${found.length} bytes on disk, ${bytes.length} built, first difference at byte ${at === -1 ? bytes.length : at}`;
}

const check = process.argv.includes('--check');
const wanted = [
  ...generatedFiles().map(({ path, text }) => ({ path, bytes: Buffer.from(text), difference: textDifference })),
  ...(await builtKernels()).map((kernel) => ({ ...kernel, difference: moduleDifference })),
];
const differences = wanted.flatMap((file) => {
  const path = `${ROOT}/${file.path}`;
  const found = onDisk(path);
  if (found?.equals(file.bytes)) return [];
  if (check) return [found ? file.difference(file, found) : `${file.path} is missing`];
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, file.bytes);
  process.stdout.write(`wrote ${file.path}, ${(file.bytes.length / 1000).toFixed(1)} kB\n`);
  return [];
});
if (differences.length > 0) {
  process.stdout.write(`${differences.join('\n')}\nrun npm run generate and look at what changed\n`);
  process.exitCode = 1;
}
