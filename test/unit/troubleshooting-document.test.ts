import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { REASONS } from '../../src/api/index.ts';
import { PIN_EVENTS, STEP_REASONS } from '../../src/controller/operator/index.ts';

const text = readFileSync(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
/** What stands under each heading of a reason. */
const sections = new Map(
  text
    .split(/^#{2,3} /m)
    .slice(1)
    .map((section) => [section.slice(0, section.indexOf('\n')), section.slice(section.indexOf('\n')).trim()] as const),
);
const isReason = (title: string) => /^[A-Z][A-Za-z]+$/.test(title) && title !== 'Events';

describe('docs/troubleshooting.md', () => {
  it('explains every reason of a condition, and no other', () => {
    const told = [...sections.keys()].filter(isReason);
    expect(told).toHaveLength(new Set(told).size);
    expect(new Set(told)).toEqual(new Set(Object.keys(REASONS)));
    for (const reason of told) expect(sections.get(reason)?.length, reason).toBeGreaterThan(15);
  });

  it('says what to do about every reason that is a trouble', () => {
    const troubles = [
      'InvalidSpec',
      'ObjectsRefused',
      'StartRefused',
      'KeepsFailing',
      'InstancesBlocked',
      'InstancesFailing',
      'RouterFailing',
      'Paused',
    ];
    for (const reason of troubles) expect(sections.get(reason), reason).toContain('**Do:**');
  });

  it('tells every event, and no other', () => {
    const told = [...(sections.get('Events') ?? '').matchAll(/`([A-Z][A-Za-z]+)`/g)].map(([, name]) => name);
    expect(new Set(told)).toEqual(new Set([...STEP_REASONS, ...PIN_EVENTS, 'ReplicasOverridden']));
  });

  it('links only to what is there', () => {
    const anchors = [...sections.keys()].map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    );
    const links = [...text.matchAll(/\]\(#([^)]*)\)/g)].map(([, anchor]) => anchor ?? '');
    expect(links.length).toBeGreaterThan(2);
    expect(links.filter((link) => !anchors.includes(link))).toEqual([]);
  });
});
