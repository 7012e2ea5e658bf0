/**
 * Checks that look at more than one field. Pure: findings in, nothing else touched. Each expectation says what to do about it.
 */
import type { z } from 'zod';
import { durationMs } from './units.ts';

interface Engine {
  readonly type: 'llamacpp' | 'sim';
  readonly args: readonly string[];
  readonly sim?: object | undefined;
}
type Targets = { readonly [name in 'p50' | 'p95' | 'p99']?: string | undefined };

/** The part of a parsed spec that the checks read. */
export interface CheckedSpec {
  readonly engine: Engine;
  readonly slo?: { readonly ttft?: Targets | undefined; readonly tpot?: Targets | undefined } | undefined;
  readonly prefill?: { readonly sim?: object | undefined } | undefined;
  readonly decode: { readonly sim?: object | undefined };
  readonly kv: { readonly lease: string };
  readonly router: {
    readonly limits: { readonly queueTimeout: string };
    readonly deadlines: Readonly<Record<'prefill' | 'pull' | 'firstToken' | 'idle' | 'total', string>>;
  };
}

export interface Finding {
  /** From `spec` on. */
  readonly path: readonly (string | number)[];
  readonly expected: string;
}

/** Flags of `sluice engine` that follow from the manifest; a second value would contradict it. */
const OWN_FLAGS = [
  'drain-ms',
  'type',
  'role',
  'instance',
  'model-name',
  'model',
  'host',
  'port',
  'context',
  'sequences',
  'block-tokens',
  'hbm-bytes',
  'host-bytes',
  'lease-ms',
  'costs',
];

export function findings(spec: CheckedSpec): Finding[] {
  return [...simulationOnly(spec), ...ownFlags(spec.engine), ...serviceLevel(spec), ...times(spec)];
}

/** Adapter for zod's `superRefine`. */
export function crossCheck(spec: CheckedSpec, context: z.RefinementCtx): void {
  for (const { path, expected } of findings(spec)) context.addIssue({ code: 'custom', path: [...path], message: expected });
}

function simulationOnly({ engine, prefill, decode }: CheckedSpec): Finding[] {
  if (engine.type === 'sim') return [];
  const places = { engine, prefill, decode };
  return (['engine', 'prefill', 'decode'] as const)
    .filter((name) => places[name]?.sim !== undefined)
    .map((name) => ({
      path: [name, 'sim'],
      expected: `no sim block with engine.type ${engine.type}: remove it, or set engine.type to sim`,
    }));
}

function ownFlags(engine: Engine): Finding[] {
  const flag = (text: string) => /^--([a-z-]+)(?:=|$)/.exec(text)?.[1] ?? '';
  return engine.args.flatMap((text, index) =>
    OWN_FLAGS.includes(flag(text))
      ? [{ path: ['engine', 'args', index], expected: `no --${flag(text)}, which Sluice sets from the other fields: remove it` }]
      : [],
  );
}

function serviceLevel({ slo }: CheckedSpec): Finding[] {
  if (!slo) return [];
  const all = [...Object.values(slo.ttft ?? {}), ...Object.values(slo.tpot ?? {})].filter((value) => value !== undefined);
  if (all.length === 0) return [{ path: ['slo'], expected: 'at least one target, such as ttft.p99: add one, or remove slo' }];
  return (['ttft', 'tpot'] as const).flatMap((name) => percentileOrder(name, slo[name] ?? {}));
}

function percentileOrder(name: 'ttft' | 'tpot', targets: Targets): Finding[] {
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
