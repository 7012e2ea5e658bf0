import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { specRules } from '../../src/api/checks.ts';
import { parseManifestFiles } from '../../src/api/index.ts';
import { formatPath } from '../../src/api/manifest-error.ts';
import { servingPoolSchema } from '../../src/api/servingpool.ts';
import { type ApiCase, apiCases } from '../apicases.ts';

const cases = apiCases();
/** zod does not know what was before. */
const refusedHere = cases.filter(({ refused, before }) => refused && !before);

/** What Sluice itself finds wrong with a manifest. */
function findings({ manifest }: ApiCase): { path: string; message: string }[] {
  if (manifest.kind === 'ServingPool') {
    const result = servingPoolSchema.safeParse(manifest);
    return result.error?.issues.map(({ path, message }) => ({ path: formatPath(path), message })) ?? [];
  }
  const result = parseManifestFiles([{ fileName: 'case.yaml', text: stringify(manifest) }], { restElsewhere: true });
  return result.ok ? [] : result.errors.map(({ path, message }) => ({ path, message }));
}

describe('the cases of the API', () => {
  it('are many, and no two have one name', () => {
    expect(cases.filter(({ refused }) => refused).length).toBeGreaterThan(110);
    expect(cases.filter(({ refused }) => !refused).length).toBeGreaterThan(25);
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

  it('break every rule that looks at several fields', () => {
    const said = refusedHere.flatMap(findings);
    const idle = specRules.filter(({ field, expected }) => {
      const words = expected.split(/\{[A-Za-z0-9.]+\}/);
      return !said.some(({ path, message }) => path === `spec.${field}` && words.every((word) => message.includes(word)));
    });
    expect(idle.map(({ field, expected }) => `${field}: ${expected}`)).toEqual([]);
  });

  it.each(cases.filter(({ refused }) => !refused).map((one) => [one.name, one] as const))('accepts %s', (_, one) => {
    expect(findings(one)).toEqual([]);
  });

  it.each(refusedHere.map((one) => [one.name, one] as const))('refuses %s', (_, one) => {
    const { path, says } = one.refused ?? { path: 'none', says: '' };
    const found = findings(one);
    const missed = found.filter((finding) => !finding.path.startsWith(path) || !finding.message.includes(says));
    expect(found.length > missed.length ? 'refused' : missed).toEqual('refused');
  });
});
