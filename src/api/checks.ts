/**
 * Checks that look at more than one field. Pure: findings in, nothing else touched. Each expectation says what to do about it.
 */
import type { z } from 'zod';
import { engineFindings } from './enginechecks.ts';
import type { CheckedSpec, CheckedTargets, Finding } from './finding.ts';
import { ownArguments } from './ownarguments.ts';
import { durationMs } from './units.ts';

export function findings(spec: CheckedSpec): Finding[] {
  return [...engineFindings(spec), ...ownArguments(spec.engine), ...serviceLevel(spec), ...times(spec)];
}

/** Adapter for zod's `superRefine`. */
export function crossCheck(spec: CheckedSpec, context: z.RefinementCtx): void {
  for (const { path, expected } of findings(spec)) context.addIssue({ code: 'custom', path: [...path], message: expected });
}

function serviceLevel({ slo }: CheckedSpec): Finding[] {
  if (!slo) return [];
  const all = [...Object.values(slo.ttft ?? {}), ...Object.values(slo.tpot ?? {})].filter((value) => value !== undefined);
  if (all.length === 0) return [{ path: ['slo'], expected: 'at least one target, such as ttft.p99: add one, or remove slo' }];
  return (['ttft', 'tpot'] as const).flatMap((name) => percentileOrder(name, slo[name] ?? {}));
}

function percentileOrder(name: 'ttft' | 'tpot', targets: CheckedTargets): Finding[] {
  const given = (['p50', 'p95', 'p99'] as const).flatMap((percentile) => {
    const value = targets[percentile];
    return value === undefined ? [] : [{ percentile, value, ms: durationMs(value) ?? 0 }];
  });
  return given.flatMap((target, index) => {
    const lower = given[index - 1];
    if (!lower || target.ms >= lower.ms) return [];
    return [
      {
        path: ['slo', name, target.percentile],
        expected: `at least ${lower.value}, the target of ${lower.percentile}: raise it or lower that one`,
      },
    ];
  });
}

function times({ kv, router: { limits, deadlines } }: CheckedSpec): Finding[] {
  const ms = (value: string) => durationMs(value) ?? 0;
  const found: Finding[] = [];
  if (ms(kv.lease) < ms(deadlines.pull)) {
    found.push({
      path: ['kv', 'lease'],
      expected: `at least ${deadlines.pull}, which router.deadlines.pull allows a pull to take: raise it or lower that one`,
    });
  }
  for (const name of ['prefill', 'pull', 'firstToken', 'idle'] as const) {
    if (ms(deadlines[name]) <= ms(deadlines.total)) continue;
    found.push({
      path: ['router', 'deadlines', name],
      expected: `at most ${deadlines.total}, which deadlines.total allows the whole request: lower it or raise that one`,
    });
  }
  if (ms(limits.queueTimeout) > ms(deadlines.total)) {
    found.push({
      path: ['router', 'limits', 'queueTimeout'],
      expected: `at most ${deadlines.total}, which deadlines.total allows the whole request: lower it or raise that one`,
    });
  }
  return found;
}
