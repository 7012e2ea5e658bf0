// Writes the files that come from others: CRDs and docs/api.md from the schemas of src/api, the chart's values from scripts/chart, and what
// chart and install.yaml take from crds/ and manifests/operator. With --check it writes nothing and fails when one on disk differs.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generatedFiles } from '../src/api/crd/files.ts';
import { chartFiles, OPERATOR_FILES, README } from './chart/files.ts';
import { ROOT } from './launch.mjs';

/** Nothing else is in them. */
const WHOLLY_GENERATED = ['crds', 'charts/sluice/templates/crds'];

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
  return `${path}:${at + 1} is not what its source says\n  on disk:   ${foundLines[at] ?? '(no line)'}\n  generated: ${wantedLines[at] ?? '(no line)'}`;
}

function allFiles() {
  const fromSchemas = generatedFiles();
  const crds = fromSchemas.filter(({ path }) => path.startsWith('crds/'));
  const operator = OPERATOR_FILES.map((path) => ({ path, text: readFileSync(`${ROOT}/${path}`, 'utf8') }));
  return [...fromSchemas, ...chartFiles({ crds, operator, readme: readFileSync(`${ROOT}/${README}`, 'utf8') })];
}

/** Of a kind that is no more. */
function leftOver(files) {
  const paths = WHOLLY_GENERATED.flatMap((folder) => readdirSync(`${ROOT}/${folder}`).map((name) => `${folder}/${name}`));
  return paths.filter((path) => !files.some((file) => file.path === path));
}

const check = process.argv.includes('--check');
const files = allFiles();
const differences = files.flatMap(({ path, text }) => {
  const file = `${ROOT}/${path}`;
  const found = onDisk(file);
  if (!check && found !== text) {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    process.stdout.write(`wrote ${path}, ${(Buffer.byteLength(text) / 1000).toFixed(1)} kB\n`);
  }
  return check ? (difference(path, text, found) ?? []) : [];
});
for (const path of leftOver(files)) {
  if (check) differences.push(`${path} has no source any more`);
  else rmSync(`${ROOT}/${path}`);
}
if (differences.length > 0) {
  process.stdout.write(`${differences.join('\n')}\nrun npm run generate and look at what changed\n`);
  process.exitCode = 1;
}
