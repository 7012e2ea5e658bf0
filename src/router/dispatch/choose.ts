/** Gathers what placement needs to know of this moment, and asks it. */
import type { Directory, StoreReach } from '../../kv/index.ts';
import type { ParsedRequest } from '../edge/index.ts';
import { guessedNames, type PromptNames } from '../identity/index.ts';
import type { Group } from '../instances/group.ts';
import type { Instance } from '../instances/instance.ts';
import type { Registry } from '../instances/registry.ts';
import type { Hints } from '../kv/hints.ts';
import { type Aside, type Decision, MAX_ASIDE, place } from '../placement/index.ts';
import { canServe, decodesAlone } from './dialects/alone.ts';
import type { Speech } from './dialects/index.ts';

export interface Choice {
  readonly group: Group;
  readonly prefill: Instance | null;
  readonly decode: Instance;
  readonly decision: Decision;
  readonly prompt: PromptNames;
}

export interface Question {
  readonly request: ParsedRequest;
  /** How the request is spoken with the instances of a group. */
  readonly speechFor: (group: Group) => Pick<Speech, 'salt' | 'spared' | 'undivided'>;
  /** Instances that failed this request. */
  readonly excluded: ReadonlySet<Instance>;
  /** Set once a token went out: another group's KV and weights would go on differently. */
  readonly group: Group | null;
  /** It goes over a pair where there is one, and over instances that nothing went through yet. */
  readonly probe: boolean;
  /** Nothing is to be prefilled: one instance is asked for, which gets the KV from elsewhere. */
  readonly alone?: boolean;
  /** What the shared directory said. */
  readonly hints: Hints;
}

/** A chat without `max_tokens` may go on to the end of the context. */
const UNLIMITED_TOKENS = 1_000_000;
const COMPLETION_TOKENS = 16;

export class Chooser {
  readonly #registry: Registry;
  readonly #directory: Directory;
  readonly #pullMs: number;
  #turn = 0;

  /** @param pullMs how long engines may take to get KV from elsewhere */
  constructor(registry: Registry, directory: Directory, pullMs: number) {
    this.#registry = registry;
    this.#directory = directory;
    this.#pullMs = pullMs;
  }

  /** The cheapest choice over all groups; null when no instance can decode. */
  choose(question: Question, now: number): Choice | null {
    this.#turn = (this.#turn + 1) % 0x3fffffff;
    let best: Choice | null = null;
    for (const group of this.#groupsFor(question)) {
      const choice = this.#inGroup(group, question, now);
      if (choice && (best === null || choice.decision.chosen.totalMs < best.decision.chosen.totalMs)) best = choice;
    }
    return best;
  }

  /** Whether a request could be served without `without` by instances that are well. */
  hasOther({ excluded, group }: Pick<Question, 'excluded' | 'group'>, without: readonly Instance[], now: number): boolean {
    for (const { instances, info } of group ? [group] : this.#registry.groups) {
      const well = [...instances].filter((one) => !without.includes(one) && !excluded.has(one) && isWell(one, now));
      if (canServe(well, info.dialect)) return true;
    }
    return false;
  }

  #groupsFor({ group, probe }: Question): Iterable<Group> {
    if (group) return [group];
    if (!probe) return this.#registry.groups;
    const groups = [...this.#registry.groups];
    const unproven = groups.filter(({ instances }) => [...instances].some(({ unproven }) => unproven));
    return unproven.length > 0 ? unproven : groups;
  }

  #inGroup(group: Group, question: Question, now: number): Choice | null {
    const { request } = question;
    const { salt, spared, undivided } = question.speechFor(group);
    const eligible = this.#eligible(group, question, now);
    const alone = decodesAlone(group.info.dialect);
    const whole = undivided || question.alone === true;
    const instances = whole ? eligible.filter(({ role }) => role === 'mixed' || (role === 'decode' && alone)) : eligible;
    if (instances.length === 0) return null;
    const { identity, bytesPerBlock } = group.info;
    const prompt = group.family?.namesOf(request.prompt, request.body, salt) ?? guessedNames(request.body);
    const maxTokens = request.maxTokens ?? (request.kind === 'chat' ? UNLIMITED_TOKENS : COMPLETION_TOKENS);
    const held = this.#held(instances, prompt, question.hints);
    const ranking = place({
      promptTokens: prompt.tokens + spared,
      maxTokens: Math.max(1, maxTokens - spared),
      blockTokens: identity.blockTokens,
      bytesPerBlock,
      instances,
      held,
      stored: this.#stored(instances, prompt, held),
      pullMs: this.#pullMs,
      spread: this.#turn % instances.length,
      pairOnly: question.probe,
      decodesAlone: alone,
    });
    if (!ranking) return null;
    const byId = (id: string | null) => instances.find((instance) => instance.id === id);
    const decode = byId(ranking.chosen.decode);
    if (!decode) return null;
    const decision = { ...ranking, aside: this.#aside(instances, question, now) };
    return { group, prefill: byId(ranking.chosen.prefill) ?? null, decode, decision, prompt };
  }

  /**
   * Those that fail, are silent or were ordered to be drained count only while nobody else can serve it: a doubtful instance is better than a
   * certain refusal. So do those that leave, for a stream that has begun.
   */
  #eligible(group: Group, { excluded, probe, group: begun }: Question, now: number): Instance[] {
    const usable: Instance[] = [];
    const healthy: Instance[] = [];
    for (const instance of group.instances) {
      if (!(instance.usable || (begun !== null && instance.able)) || excluded.has(instance)) continue;
      usable.push(instance);
      if (isWell(instance, now)) healthy.push(instance);
    }
    const eligible = canServe(healthy, group.info.dialect) ? healthy : usable;
    return probe ? unprovenFirst(eligible) : eligible;
  }

  #aside(eligible: readonly Instance[], { excluded }: Question, now: number): Aside[] {
    const aside: Aside[] = [];
    for (const instance of this.#registry.instances) {
      const why = excluded.has(instance) ? 'it failed this request' : whyNotWell(instance, now);
      if (why !== null && !eligible.includes(instance)) aside.push({ instance: instance.id, why });
      if (aside.length === MAX_ASIDE) break;
    }
    return aside;
  }

  /**
   * Whole names of the prompt's blocks where an instance could take it of which it is not known what it holds; else null.
   */
  unknownKeys({ request, speechFor }: Pick<Question, 'request' | 'speechFor'>): readonly string[] | null {
    for (const group of this.#registry.groups) {
      const isUnknown = [...group.instances].some((instance) => instance.usable && this.#registry.sourceOf(instance) === 'none');
      const keys = isUnknown ? (group.family?.hexesOf(request.prompt, speechFor(group).salt) ?? []) : [];
      if (keys.length > 0) return keys;
    }
    return null;
  }

  #held(instances: readonly Instance[], prompt: PromptNames, hints: Hints): Uint32Array {
    const held = new Uint32Array(instances.length);
    if (prompt.keys.length === 0) return held;
    if (hints.size > 0) for (const [at, { id }] of instances.entries()) held[at] = Math.min(prompt.keys.length, hints.get(id) ?? 0);
    for (const match of this.#directory.lookup(prompt.keys)) {
      const at = instances.findIndex((instance) => instance.id === match.instance);
      if (at >= 0) held[at] = Math.max(held[at] ?? 0, match.expected);
    }
    return held;
  }

  /** Of each instance's store, behind what the instance has. Instances that have as much of the prompt are asked about at once. */
  #stored(instances: readonly Instance[], { keys }: PromptNames, held: Uint32Array): Uint32Array {
    const stored = new Uint32Array(instances.length);
    const reaches = new Map<number, StoreReach>();
    for (const [at, { info, storePrice }] of instances.entries()) {
      const from = held[at] ?? 0;
      if (info?.store === undefined || storePrice === null || from >= keys.length) continue;
      const reach = reaches.get(from) ?? this.#directory.stored(keys.subarray(from));
      reaches.set(from, reach);
      stored[at] = reach.get(info.store) ?? 0;
    }
    return stored;
  }
}

/** Nothing speaks against it. */
export function isWell(instance: Instance, now: number): boolean {
  return whyNotWell(instance, now) === null;
}

/** In the words of `sluice explain`; null = it is well. */
function whyNotWell(instance: Instance, now: number): string | null {
  const { breaker, draining, load, lostBecause, pulse } = instance;
  if (!instance.connected) return `it is not connected: ${lostBecause ?? 'it has not said yet how loaded it is'}`;
  if (breaker.broken) return 'its engine said that it is dead';
  if (draining || instance.emptied || load?.draining === true) return 'it drains';
  const { silence } = pulse;
  if (silence) return `${silence.of === 'engine' ? 'its engine' : 'it'} has said nothing for ${Math.round(silence.ms)} ms`;
  return breaker.allows(now) ? null : 'it failed again and again';
}

/** Of each role those that nothing went through yet, where there are any. */
function unprovenFirst(instances: readonly Instance[]): Instance[] {
  const chosen = (role: 'prefill' | 'decode') => {
    const all = instances.filter((instance) => (instance.role === 'prefill') === (role === 'prefill'));
    const unproven = all.filter((instance) => !instance.proven);
    return unproven.length > 0 ? unproven : all;
  };
  return [...chosen('prefill'), ...chosen('decode')];
}
