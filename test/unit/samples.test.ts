import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatManifestErrors, parseManifests } from '../../src/api/index.ts';

const FOLDER = new URL('../../manifests/samples/', import.meta.url);
const samples = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml'));

describe('manifests/samples', () => {
  it('holds the quickstart', () => expect(samples).toContain('quickstart.yaml'));

  it.each(samples)('%s is sound', (name) => {
    const result = parseManifests(readFileSync(new URL(name, FOLDER), 'utf8'), name);
    expect(result.ok ? '' : formatManifestErrors(result.errors)).toBe('');
  });
});
