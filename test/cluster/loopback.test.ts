import { expect, it } from 'vitest';
import { takeLoopbackPart } from './loopback.ts';

it('gives nobody a part that somebody has', async () => {
  const parts = await Promise.all(Array.from({ length: 100 }, takeLoopbackPart));
  expect(new Set(parts.map(({ network }) => network)).size).toBe(100);
  for (const part of parts) part.release();
});
