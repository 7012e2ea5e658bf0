/**
 * Arguments and variables of the engine process that follow from other fields, or that would part an instance from its peers and its
 * router; a second value would contradict them. Pure.
 */
import type { CheckedSpec, Finding } from './finding.ts';
import { FOLLOWS, FOREIGN, type Foreign, OURS, type Refused } from './refused.ts';
import { type CelRule, celList, celText } from './rule.ts';

export function ownArguments(engine: Pick<CheckedSpec['engine'], 'type' | 'args' | 'env'>): Finding[] {
  const foreign = isForeign(engine.type) ? FOREIGN[engine.type] : null;
  const refused = foreign?.flags ?? OURS;
  const args = engine.args.flatMap((text, index) => {
    const flag = foreign ? foreignFlag(foreign, text) : ourFlag(text);
    const written = text.split('=', 1)[0] ?? text;
    return flag !== null && Object.hasOwn(refused, flag)
      ? [{ path: ['engine', 'args', index], expected: refusal(`no ${written}`, refused[flag] ?? null) }]
      : [];
  });
  return [...args, ...(foreign ? variables(foreign.variables, engine.env) : [])];
}

function isForeign(type: CheckedSpec['engine']['type']): type is keyof typeof FOREIGN {
  return Object.hasOwn(FOREIGN, type);
}

function variables(refused: Refused, env: Readonly<Record<string, string>>): Finding[] {
  return Object.keys(env).flatMap((name) =>
    Object.hasOwn(refused, name) ? [{ path: ['engine', 'env', name], expected: refusal(`no ${name}`, refused[name] ?? null) }] : [],
  );
}

function refusal(what: string, why: string | null): string {
  return `${what}, ${why ?? FOLLOWS}: remove it`;
}

function ourFlag(text: string): string | null {
  return /^--([a-z-]+)(?:=|$)/.exec(text)?.[1] ?? null;
}

/**
 * The refused flag that a program of others would read: both take unique beginnings of names; vLLM also `_` for `-`, and `--name.field` for
 * fields of JSON.
 */
function foreignFlag({ flags, short }: Foreign, text: string): string | null {
  const brief = /^-([a-z]{1,3})(?:=|$|\d)/.exec(text)?.[1];
  if (brief !== undefined) return short[brief] ?? null;
  const name = /^--([A-Za-z][-\w]*)/.exec(text)?.[1]?.replaceAll('_', '-');
  if (name === undefined) return null;
  return Object.keys(flags).find((flag) => flag === name) ?? Object.keys(flags).find((flag) => flag.startsWith(name)) ?? null;
}

export interface Refusal {
  readonly engine: string;
  readonly why: string;
  /** Flags with their dashes, or names of variables. */
  readonly names: readonly string[];
}

/** Every refusal, for the reference. */
export const refusals: readonly Refusal[] = [
  ...reasons(OURS).map(([why, names]) => ({ engine: 'llamacpp, sim', why: why ?? FOLLOWS, names: names.map(asFlag) })),
  ...Object.entries(FOREIGN).flatMap(([engine, { flags, short, variables: refused }]) => [
    ...reasons(flags).map(([why, names]) => ({
      engine,
      why: why ?? FOLLOWS,
      names: [...names.map(asFlag), ...shortForms(short, names).map((one) => `-${one}`)],
    })),
    ...reasons(refused).map(([why, names]) => ({ engine, why: why ?? FOLLOWS, names })),
  ]),
];

function asFlag(name: string): string {
  return `--${name}`;
}

function shortForms(short: Foreign['short'], flags: readonly string[]): string[] {
  return Object.keys(short).filter((one) => flags.includes(short[one] ?? ''));
}

/** The same refusals for a kube-apiserver, one rule for each reason. They name the first argument or variable that is refused. */
export const argumentRules: readonly CelRule[] = [
  ...reasons(OURS).map(([why, flags]) =>
    argumentRule(`self.engine.type in ${celList(Object.keys(FOREIGN))}`, `arg.matches('^--(?:${flags.join('|')})(?:=|$)')`, why),
  ),
  ...Object.entries(FOREIGN).flatMap(([engine, { flags, short, variables: refused }]) => [
    ...reasons(flags).map(([why, names]) =>
      argumentRule(`self.engine.type != '${engine}'`, foreignArgument(names, shortForms(short, names)), why),
    ),
    ...reasons(refused).map(([why, names]) => variableRule(engine, names, why)),
  ]),
];

function argumentRule(unless: string, isRefused: string, why: string | null): CelRule {
  const refused = `self.engine.args.filter(arg, ${isRefused})`;
  return {
    rule: `${unless} || !self.engine.args.exists(arg, ${isRefused})`,
    messageExpression: `'expected no ' + ${refused}[0].split('=')[0] + ${celText(refusal('', why))}`,
    fieldPath: '.engine.args',
  };
}

/** `foreignFlag` in CEL. */
function foreignArgument(flags: readonly string[], short: readonly string[]): string {
  const name = "arg.find('^--[A-Za-z][-A-Za-z0-9_]*').replace('_', '-').substring(2)";
  const long = `arg.matches('^--[A-Za-z]') && ${celList(flags)}.exists(flag, flag.startsWith(${name}))`;
  return short.length === 0 ? long : `arg.matches('^-(?:${short.join('|')})(?:=|$|[0-9])') || ${long}`;
}

function variableRule(engine: string, names: readonly string[], why: string | null): CelRule {
  return {
    rule: `self.engine.type != '${engine}' || !${celList(names)}.exists(name, name in self.engine.env)`,
    messageExpression: `'expected no ' + ${celList(names)}.filter(name, name in self.engine.env)[0] + ${celText(refusal('', why))}`,
    fieldPath: '.engine.env',
  };
}

/** What is refused, by the reason. */
function reasons(refused: Refused): [why: string | null, names: string[]][] {
  return [...Map.groupBy(Object.keys(refused), (name) => refused[name] ?? null)];
}
