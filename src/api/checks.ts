/**
 * Rules that look at more than one field of a spec, each with its twin in CEL. Pure: findings in, nothing else touched. Each
 * expectation says what to do about it.
 */
import type { z } from 'zod';
import { engineRules } from './enginechecks.ts';
import type { CheckedSpec, CheckedTargets, Finding } from './finding.ts';
import { argumentRules, ownArguments } from './ownarguments.ts';
import { brokenRules, type CelRule, celRule, type Rule } from './rule.ts';
import { durationMs } from './units.ts';

const ms = (value: string) => durationMs(value) ?? 0;

/**
 * CEL: `left` against `right`, both durations. One that is none is refused where it stands; here it would only be an error of the rule,
 * which `||` swallows when its other side is true.
 */
function compared(left: string, operator: '<=' | '>=', right: string): string {
  const malformed = `[${left}, ${right}].exists(text, !text.matches('^([0-9.]+(ms|s|m|h))+$'))`;
  return `duration(${left}) ${operator} duration(${right}) || ${malformed}`;
}

/** Higher percentile, and the lower one that it is compared with: the nearest that is given. */
const ORDERED = [
  { name: 'p95', lower: 'p50', between: null },
  { name: 'p99', lower: 'p95', between: null },
  { name: 'p99', lower: 'p50', between: 'p95' },
] as const;

const targetRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'slo',
    expected: 'at least one target, such as ttft.p99: add one, or remove slo',
    cel: `!has(self.slo) || ${['ttft', 'tpot']
      .map((name) => `(has(self.slo.${name}) && (${['p50', 'p95', 'p99'].map((one) => `has(self.slo.${name}.${one})`).join(' || ')}))`)
      .join(' || ')}`,
    holds: ({ slo }) => !slo || [...Object.values(slo.ttft ?? {}), ...Object.values(slo.tpot ?? {})].some((target) => target !== undefined),
  },
  ...(['ttft', 'tpot'] as const).flatMap((metric) => ORDERED.map((order) => percentileOrder(metric, order))),
];

function percentileOrder(metric: 'ttft' | 'tpot', { name, lower, between }: (typeof ORDERED)[number]): Rule<CheckedSpec> {
  const targets = `self.slo.${metric}`;
  const given = [name, lower].map((one) => `!has(${targets}.${one})`).join(' || ');
  const nearer = between === null ? '' : ` || has(${targets}.${between})`;
  const order = compared(`${targets}.${name}`, '>=', `${targets}.${lower}`);
  const holds = (all: CheckedTargets) => {
    const [high, low] = [all[name], all[lower]];
    return high === undefined || low === undefined || (between !== null && all[between] !== undefined) || ms(high) >= ms(low);
  };
  return {
    field: `slo.${metric}.${name}`,
    expected: `at least {slo.${metric}.${lower}}, the target of ${lower}: raise it or lower that one`,
    cel: `!has(self.slo) || !has(${targets}) || ${given}${nearer} || ${order}`,
    holds: ({ slo }) => holds(slo?.[metric] ?? {}),
  };
}

const TOTAL = 'at most {router.deadlines.total}, which deadlines.total allows the whole request: lower it or raise that one';

const timeRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'kv.lease',
    expected: 'at least {router.deadlines.pull}, which router.deadlines.pull allows a pull to take: raise it or lower that one',
    cel: compared('self.kv.lease', '>=', 'self.router.deadlines.pull'),
    holds: ({ kv, router }) => ms(kv.lease) >= ms(router.deadlines.pull),
  },
  ...(['prefill', 'pull', 'firstToken', 'idle'] as const).map((name) => ({
    field: `router.deadlines.${name}`,
    expected: TOTAL,
    cel: compared(`self.router.deadlines.${name}`, '<=', 'self.router.deadlines.total'),
    holds: ({ router: { deadlines } }: CheckedSpec) => ms(deadlines[name]) <= ms(deadlines.total),
  })),
  {
    field: 'router.limits.queueTimeout',
    expected: TOTAL,
    cel: compared('self.router.limits.queueTimeout', '<=', 'self.router.deadlines.total'),
    holds: ({ router: { limits, deadlines } }) => ms(limits.queueTimeout) <= ms(deadlines.total),
  },
];

const modelRules: readonly Rule<CheckedSpec>[] = [
  {
    field: 'router.models',
    expected: 'models of other routers, but {model.name} is served here: remove it from the list',
    cel: '!has(self.router.models) || !self.router.models.exists(other, other.name == self.model.name)',
    holds: ({ model, router }) => !(router.models ?? []).some(({ name }) => name === model.name),
  },
];

export const specRules: readonly Rule<CheckedSpec>[] = [...engineRules, ...targetRules, ...timeRules, ...modelRules];

/** What a kube-apiserver checks of a spec. */
export const specCelRules: readonly CelRule[] = [...specRules.map(celRule), ...argumentRules];

export function findings(spec: CheckedSpec): Finding[] {
  return [...ownArguments(spec.engine), ...brokenRules(specRules, spec)];
}

/** Adapter for zod's `superRefine`. */
export function crossCheck(spec: CheckedSpec, context: z.RefinementCtx): void {
  for (const { path, expected } of findings(spec)) context.addIssue({ code: 'custom', path: [...path], message: expected });
}
