/** `slo`: service level objectives. */
import { block, decimalNumber, duration } from '../fields.ts';

const HOUR = 3_600_000;

const percentiles = (what: string) => {
  const target = (share: string) =>
    duration({ min: 1, max: HOUR }).optional().describe(`${what} that ${share} of requests stay within, as a duration, 1ms to 1h.`);
  return block({ p50: target('half'), p95: target('95 %'), p99: target('99 %') });
};

export const slo = block({
  ttft: percentiles('Time to first token').optional().describe('Targets for the time to first token.'),
  tpot: percentiles('Time per output token').optional().describe('Targets for the time per output token.'),
  attainment: decimalNumber({ min: 0, max: 1, unit: 'share of requests' })
    .default(0.99)
    .describe('Share of requests that must meet all targets, 0 to 1.'),
});
