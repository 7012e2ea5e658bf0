// Writes the files that come from others: CRDs and docs/api.md from the schemas of src/api, the chart's values from scripts/chart, what chart
// and install.yaml take from crds/ and manifests/operator, and the modules that come from kernels/*.wat. With --check it writes nothing and
// fails when one on disk differs.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { generatedFiles } from '../src/api/crd/files.ts';
import { chartFiles, OPERATOR_FILES, README } from './chart/files.ts';
import { builtKernels } from './kernels.mjs';
import { ROOT } from './launch.mjs';

/** Nothing else is in them. */
const WHOLLY_GENERATED = ['crds', 'charts/sluice/templates/crds'];

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
  return `${path}:${at + 1} is not what its source says\n  on disk:   ${foundLines[at] ?? '(no line)'}\n  generated: ${wantedLines[at] ?? '(no line)'}`;
}

function allTexts() {
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

function moduleDifference({ path, source, bytes }, found) {
  const at = bytes.findIndex((byte, index) => byte !== found[index]);
  return `${path} is not what ${source} says: ${found.length} bytes on disk, ${bytes.length} built, first difference at byte ${at === -1 ? bytes.length : at}`;
}

const check = process.argv.includes('--check');
const files = [
  ...allTexts().map(({ path, text }) => ({ path, bytes: Buffer.from(text), difference: textDifference })),
  ...(await builtKernels()).map((kernel) => ({ ...kernel, difference: moduleDifference })),
];
const differences = files.flatMap((file) => {
  const path = `${ROOT}/${file.path}`;
  const found = onDisk(path);
  if (found?.equals(file.bytes)) return [];
  if (check) return [found ? file.difference(file, found) : `${file.path} is missing`];
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, file.bytes);
  process.stdout.write(`wrote ${file.path}, ${(file.bytes.length / 1000).toFixed(1)} kB\n`);
  return [];
});
for (const path of leftOver(files)) {
  if (check) differences.push(`${path} has no source any more`);
  else rmSync(`${ROOT}/${path}`);
}
if (differences.length > 0) {
  process.stdout.write(`${differences.join('\n')}\nrun npm run generate and look at what changed\n`);
  process.exitCode = 1;
}
