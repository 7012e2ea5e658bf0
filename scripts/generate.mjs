// Writes the files that come from the schemas of src/api. With --check it writes nothing and fails when one on disk differs.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generatedFiles } from '../src/api/crd/files.ts';
import { ROOT } from './launch.mjs';

/** What is on disk; null = no such file. */
function onDisk(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return null;
  }
}

/** The first line that differs, for people; null = none. */
function difference(path, wanted, found) {
  if (found === null) return `${path} is missing`;
  if (found === wanted) return null;
  const [wantedLines, foundLines] = [wanted.split('\n'), found.split('\n')];
  const line = wantedLines.findIndex((text, index) => text !== foundLines[index]);
  const at = line === -1 ? wantedLines.length : line;
  return `${path}:${at + 1} is not what src/api says\n  on disk:   ${foundLines[at] ?? '(no line)'}\n  generated: ${wantedLines[at] ?? '(no line)'}`;
}

const check = process.argv.includes('--check');
const differences = generatedFiles().flatMap(({ path, text }) => {
  const file = `${ROOT}/${path}`;
  const found = onDisk(file);
  if (!check && found !== text) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    process.stdout.write(`wrote ${path}, ${(Buffer.byteLength(text) / 1000).toFixed(1)} kB\n`);
  }
  return check ? (difference(path, text, found) ?? []) : [];
});
if (differences.length > 0) {
  process.stdout.write(`${differences.join('\n')}\nrun npm run generate and look at what changed\n`);
  process.exitCode = 1;
}
