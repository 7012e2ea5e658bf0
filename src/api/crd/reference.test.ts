import { describe, expect, it } from 'vitest';
import { formatManifestErrors, parseManifests } from '../index.ts';
import { KINDS } from './kinds.ts';
import { reference } from './reference.ts';
import { type Structural, structural } from './structural.ts';

const text = reference(KINDS);
const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title ?? '');

function names(schema: Structural): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [name, ...names(field), ...names(field.items ?? {})]);
}

describe('the reference', () => {
  it('tells every field and every rule', () => {
    for (const kind of KINDS) {
      for (const name of [...names(structural(kind.spec)), ...names(structural(kind.status))]) expect(text).toContain(`| \`${name}\` |`);
    }
    expect(text).toContain('| `spec.kv.lease` | at least {router.deadlines.pull}, which router.deadlines.pull allows');
    expect(text).toContain('no {…}, since the router would not reach it: remove it');
    for (const word of ['`--kv-transfer-config`', '`-tp`', '`--drain-ms`', '`PYTHONHASHSEED`']) expect(text).toContain(word);
  });

  it('links only to headings that it has, and has none twice', () => {
    const anchors = headings.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    );
    expect(new Set(anchors).size).toBe(anchors.length);
    const links = [...text.matchAll(/\]\(#([^)]*)\)/g)].map(([, anchor]) => anchor);
    expect(links.length).toBeGreaterThan(20);
    expect(links.filter((link) => !anchors.includes(link ?? ''))).toEqual([]);
  });

  it('shows a manifest that is sound', () => {
    const examples = [...text.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml]) => parseManifests(yaml ?? '', 'docs/api.md'));
    expect(examples.map((result) => (result.ok ? result.deployments.length : formatManifestErrors(result.errors)))).toEqual([1, 1, 1]);
    expect(examples[1]).toMatchObject({ tiers: [{ tier: { name: 'shared' } }] });
    expect(examples[2]).toMatchObject({ contexts: [{ name: 'handbook', deployment: 'chat' }] });
  });
});
