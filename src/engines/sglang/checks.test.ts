import { expect, it } from 'vitest';
import { explainOverride } from '../agent/overrides.ts';
import { findOverrides } from './checks.ts';

it('finds nothing in what is the same everywhere', () => {
  expect(
    findOverrides(['--mem-fraction-static', '0.8', '--attention-backend=fa3'], { SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION: 'false' }),
  ).toEqual([]);
});

it('says what would part an instance from its peers, and what to do', () => {
  const found = findOverrides(['--page-size', '64', '--tp=4'], { SGLANG_HOST_IP: '10.0.0.1' });
  expect(found.map(explainOverride)).toEqual([
    '--page-size (given: 64): no --page-size, which Sluice sets from the other fields: remove it',
    '--tp (given: 4): no --tp, which Sluice sets from the other fields: remove it',
    'SGLANG_HOST_IP (given: 10.0.0.1): Sluice sets it for each instance: unset it',
  ]);
});
