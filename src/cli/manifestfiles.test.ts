import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../shared/index.ts';
import { type Manifests, readManifests, watchManifests } from './manifestfiles.ts';

let folder: string;
let file: string;
const manifest = (decode: number | string) =>
  `apiVersion: serving.sluice.dev/v1alpha1\nkind: ServingDeployment\nmetadata: {name: d}\nspec: {model: {name: m}, engine: {type: sim}, decode: {replicas: ${decode}}}\n`;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'manifests-test-'));
  file = join(folder, 'd.yaml');
  writeFileSync(file, manifest(1));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('reads several files together and says where a mistake is', () => {
  expect(readManifests([file])).toMatchObject({ ok: true, deployments: [{ spec: { decode: { replicas: 1 } } }] });
  expect(readManifests([file, file])).toMatchObject({ ok: false, text: expect.stringContaining('two deployments are named "d"') });
  expect(readManifests([join(folder, 'none.yaml')])).toMatchObject({
    ok: false,
    text: `${join(folder, 'none.yaml')}: there is no such file`,
  });
  expect(readManifests([folder])).toMatchObject({ ok: false, text: `${folder}: is a folder; name the file in it` });
});

it('tells every change of the contents once, also of a file that was replaced, and no change but that', async () => {
  const seen: Manifests[] = [];
  const stop = watchManifests([file], readManifests([file]).hash, systemClock, (manifests) => seen.push(manifests));
  writeFileSync(file, manifest(2));
  await expect.poll(() => seen.length).toBe(1);
  writeFileSync(file, manifest(2));
  writeFileSync(join(folder, 'other.yaml'), manifest(9));
  writeFileSync(`${file}.tmp`, manifest('many'));
  renameSync(`${file}.tmp`, file);
  await expect.poll(() => seen.length).toBe(2);
  stop();
  expect(seen).toMatchObject([{ ok: true, deployments: [{ spec: { decode: { replicas: 2 } } }] }, { ok: false }]);
});

it('also tells a change that came between the reading and the watching', async () => {
  const { hash } = readManifests([file]);
  writeFileSync(file, manifest(3));
  const seen: Manifests[] = [];
  const stop = watchManifests([file], hash, systemClock, (manifests) => seen.push(manifests));
  await expect.poll(() => seen.length).toBe(1);
  stop();
});
