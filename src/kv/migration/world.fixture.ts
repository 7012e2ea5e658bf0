/**
 * A small world in which a session moves: one router, two instances, messages between them that come in any order, once or never. It runs
 * the real machine and the real holder; what surrounds them (legs, crashes, leases that run out) is modelled here.
 */
import { type HolderCommand, type Holding, learn, NOTHING, obey } from './holder.ts';
import {
  isOver,
  type Migration,
  type MigrationCommand,
  type MigrationMessage,
  requestMigration,
  type Transition,
  transition,
} from './machine.ts';

/** What is explored: the real rules, or ones with a planted fault. */
export interface Rules {
  readonly transition: typeof transition;
  readonly obey: typeof obey;
  readonly learn: typeof learn;
}

export const REAL: Rules = { transition, obey, learn };

export type Where = 'A' | 'B';
type Message = { readonly to: Where; readonly command: HolderCommand } | { readonly to: 'router'; readonly news: MigrationMessage };

interface Leg {
  readonly at: Where;
  readonly generation: number;
}

/** One session, what is on its way about it, and who is dead. */
export interface World {
  readonly move: Migration;
  /** Where the router reads the stream; null: nowhere (over, or nobody is left). */
  readonly leg: Leg | null;
  /** Legs that the router gave up, not knowing that they had ended: what is decoded there nobody reads. */
  readonly abandoned: readonly Leg[];
  readonly holding: Readonly<Record<Where, Holding>>;
  readonly messages: readonly Message[];
  readonly dead: readonly Victim[];
}

export interface WorldOptions {
  /** Where the session is at first; it moves to the other one. */
  readonly from: Where;
  /** Leases may run out at any time, even while the router still works with them. */
  readonly wildClocks: boolean;
}

export const VICTIMS = ['A', 'B', 'router'] as const;
export type Victim = (typeof VICTIMS)[number];
const OTHER: Readonly<Record<Where, Where>> = { A: 'B', B: 'A' };
const SIDES: readonly Where[] = ['A', 'B'];

export function firstWorld({ from }: WorldOptions, rules: Rules): World {
  const taken = requestMigration({ id: 'm', session: 's', from, to: OTHER[from], generation: 2 });
  const begun: Holding = { kind: 'decoding', generation: 1, stopping: false, leased: false };
  const holding = { A: NOTHING, B: NOTHING, [from]: begun };
  return perform({ move: taken.next, leg: { at: from, generation: 1 }, abandoned: [], holding, messages: [], dead: [] }, { taken, rules });
}

/** All that can happen next but crashes and losses. */
export function steps(world: World, options: WorldOptions, rules: Rules): World[] {
  const next: World[] = [];
  for (const [rest, message] of pending(world)) next.push(deliver(rest, message, rules));
  if (!world.dead.includes('router') && !isOver(world.move)) {
    next.push(tell(world, { news: { migration: world.move.id, type: 'failed', reason: 'silent' }, rules }));
  }
  for (const side of SIDES) next.push(...atInstance(world, side, { options, rules }));
  return next;
}

/** What is left when a message is lost. */
export function losses(world: World): World[] {
  return pending(world).map(([rest]) => rest);
}

/** Each different message, and the world without it. */
function pending(world: World): [World, Message][] {
  return world.messages.flatMap((message, at): [World, Message][] => {
    const same = world.messages.findIndex((one) => JSON.stringify(one) === JSON.stringify(message));
    return same < at ? [] : [[{ ...world, messages: world.messages.toSpliced(at, 1) }, message]];
  });
}

function deliver(world: World, message: Message, rules: Rules): World {
  if (message.to === 'router') return tell(world, { news: message.news, rules });
  const { to, command } = message;
  const verdict = rules.obey(world.holding[to], command);
  const { id, from } = world.move;
  if (verdict.type === 'refuse') {
    // Nobody waits for the answer to a release.
    if (command.type === 'release') return world;
    return send(world, { to: 'router', news: { migration: id, type: 'failed', reason: 'refused' } });
  }
  const after = verdict.type === 'do' ? { ...world, holding: { ...world.holding, [to]: verdict.next } } : world;
  const news = answerTo(command, id, to === from);
  return news === null ? after : send(after, { to: 'router', news });
}

/** What the router learns from an instance that did as it was told. */
function answerTo({ type }: HolderCommand, migration: string, isSource: boolean): MigrationMessage | null {
  switch (type) {
    case 'reserve':
      return { migration, type: 'placed' };
    case 'offer':
      return { migration, type: 'offered' };
    case 'pull':
      return { migration, type: 'pulled', blocks: 1, bytes: 1 };
    case 'follow':
      return { migration, type: 'followed', behind: 0 };
    case 'commit':
      return { migration, type: 'spoke' };
    case 'release':
      return isSource ? { migration, type: 'released' } : null;
    case 'begin':
    case 'stop':
      return null;
  }
}

/** What happens at an instance without a message. */
function atInstance(world: World, side: Where, { options, rules }: { options: WorldOptions; rules: Rules }): World[] {
  const { leg, move } = world;
  const routerDead = world.dead.includes('router');
  const holding = world.holding[side];
  const become = (next: Holding): World => ({ ...world, holding: { ...world.holding, [side]: next } });
  const next: World[] = [];
  if (holding.kind === 'decoding') {
    const read = leg?.at === side && leg.generation === holding.generation;
    // Its client is gone.
    if (!read || routerDead) next.push(become(rules.learn(holding, { type: 'ended' })));
    else if (holding.stopping) {
      const said = become(rules.learn(holding, { type: 'saidLast' }));
      next.push(send(said, { to: 'router', news: { migration: move.id, type: 'stopped' } }));
    }
  }
  const driven = !routerDead && !isOver(move);
  const expires = holding.kind === 'held' || holding.kind === 'paused' || (holding.kind === 'decoding' && holding.leased);
  if (expires && (options.wildClocks || !driven)) next.push(become(rules.learn(holding, { type: 'expired' })));
  return next;
}

/** `victim` dies; the router sees at once that a leg is gone with its instance. */
export function crash(world: World, victim: Victim, rules: Rules): World {
  const messages = world.messages.filter(({ to }) => to !== victim);
  const after: World = { ...world, messages, dead: [...world.dead, victim] };
  if (victim === 'router') return { ...after, leg: null };
  const fallen: World = { ...after, holding: { ...after.holding, [victim]: NOTHING } };
  if (world.leg?.at !== victim) return fallen;
  const news: MigrationMessage = { migration: world.move.id, type: 'failed', reason: 'lost' };
  return resume(tell({ ...fallen, leg: null }, { news, rules, left: true }), rules);
}

interface Told {
  readonly news: MigrationMessage;
  readonly rules: Rules;
  /** The flight resumes the stream itself. */
  readonly left?: boolean;
}

function tell(world: World, { news, rules, left = false }: Told): World {
  const taken = rules.transition(world.move, news);
  return perform({ ...world, move: taken.next }, { taken, rules, left });
}

function perform(world: World, { taken, rules, left = false }: { taken: Transition; rules: Rules; left?: boolean }): World {
  let after = world;
  for (const command of taken.commands) {
    if (command !== 'resume') after = ask(after, command);
    else if (!left) after = resume(giveUpLeg(after), rules);
  }
  return after;
}

function ask(world: World, command: Exclude<MigrationCommand, 'resume'>): World {
  const { from, to, generation } = world.move as Migration & { from: Where; to: Where };
  const message = (at: Where, type: HolderCommand['type']): Message => ({ to: at, command: { type, generation } });
  switch (command) {
    case 'reserve':
    case 'pull':
    case 'follow':
      return send(world, message(to, command));
    case 'offer':
    case 'stop':
      return send(world, message(from, command));
    case 'commit':
      // The source's leg has ended; that of the target is open from now on.
      return send({ ...world, leg: { at: to, generation } }, message(to, command));
    case 'releaseSource':
      return send(world, message(from, 'release'));
    case 'cancelTarget':
      return send(world, message(to, 'release'));
  }
}

function giveUpLeg(world: World): World {
  const { leg, abandoned } = world;
  return leg === null ? world : { ...world, leg: null, abandoned: [...abandoned, leg] };
}

/** The stream is taken up where an instance is left, the source first: the hardest case for what is still on its way to it. */
function resume(world: World, rules: Rules): World {
  const { move, holding } = world;
  const at = [move.from as Where, move.to as Where].find((side) => !world.dead.includes(side));
  if (at === undefined) return world;
  const generation = move.generation + 1;
  const verdict = rules.obey(holding[at], { type: 'begin', generation });
  return verdict.type === 'do' ? { ...world, leg: { at, generation }, holding: { ...holding, [at]: verdict.next } } : world;
}

function send(world: World, message: Message): World {
  if (world.dead.includes(message.to)) return world;
  const key = JSON.stringify(message);
  const at = world.messages.findIndex((one) => JSON.stringify(one) > key);
  return { ...world, messages: world.messages.toSpliced(at < 0 ? world.messages.length : at, 0, message) };
}

/** Invariants that do not hold. @param isLast nothing can happen any more */
export function faultsOf(world: World, isLast: boolean): string[] {
  const { move, leg, abandoned, holding, dead } = world;
  const faults: string[] = [];
  const routerDead = dead.includes('router');
  const owners = SIDES.filter((side) => {
    const one = holding[side];
    return one.kind === 'decoding' && !abandoned.some(({ at, generation }) => at === side && generation === one.generation);
  });
  if (!routerDead && owners.length > 1) faults.push('two owners decode');
  const source = holding[move.from as Where].kind;
  const sourceHolds = source === 'decoding' || source === 'paused';
  const moved = move.state === 'committed' && holding[move.to as Where].kind === 'decoding';
  if (!routerDead && !isOver(move) && !dead.includes(move.from as Where) && !sourceHolds && !moved) faults.push('nobody holds the session');
  if (!isLast) return faults;
  for (const side of SIDES) {
    const one = holding[side];
    if (one.kind === 'held' || one.kind === 'paused' || (one.kind === 'decoding' && one.leased))
      faults.push(`a lease never ends: ${one.kind}`);
  }
  if (routerDead) return faults;
  if (!isOver(move)) faults.push('the move hangs');
  if (leg === null || holding[leg.at].kind !== 'decoding') faults.push('nobody decodes the stream');
  return faults;
}
