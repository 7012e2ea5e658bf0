/**
 * One accelerator that serves many conversations under priorities that change, simulated step by step. Time is simulated: steps take what
 * `planStep` of the simulated engine says for declared costs, copies what the link's price says. Where KV comes from is decided by
 * `planOnboard` of `src/kv/policy`; where it lies by `GroupAllocator`, which is the bench's own: our engines do not lay their memory out in groups.
 */
import type { EngineCosts } from '../../src/engines/index.ts';
import { planStep, type Step } from '../../src/engines/sim/step.ts';
import { planOnboard } from '../../src/kv/index.ts';
import { seededRandom } from './arrivals.ts';
import type { Conversation } from './chat-load.ts';
import { ChatMemory, type Mechanisms, type MemoryShape, type Traffic } from './chat-memory.ts';

export interface ChatSetup {
  readonly conversations: readonly Conversation[];
  readonly costs: EngineCosts;
  readonly memory: MemoryShape;
  readonly mechanisms: Mechanisms;
  readonly maxSequences: number;
  readonly chunkTokens: number;
  /** Steps from one update of priorities to the next. */
  readonly updateEvery: number;
  /** `random`: anew each time. `markov`: who was served lately is more likely to be served again. */
  readonly priorities: 'random' | 'markov';
  readonly seed: number;
}

export interface ChatResult {
  readonly ttftMs: readonly number[];
  readonly tokens: number;
  readonly makespanMs: number;
  /** Milliseconds in which nothing was computed because blocks moved. */
  readonly stalledMs: number;
  readonly traffic: Traffic;
  readonly turns: number;
}

/** Share of HBM that is kept free of idle conversations. */
const AHEAD = 0.05;

/** `away`: not in HBM. `coming`, `leaving`: moving. */
type Where = 'away' | 'coming' | 'here' | 'leaving';

class Chat {
  readonly id: number;
  readonly conversation: Conversation;
  turn = -1;
  /** Waits for an answer. */
  active = false;
  where: Where = 'away';
  /** Tokens whose KV there is: in HBM when it is here, in host memory when it is away. */
  computed = 0;
  /** Tokens whose KV is needed before the next token. */
  target = 0;
  /** Tokens said and heard. */
  length = 0;
  left = 0;
  arrivedAt = 0;
  waitsForFirst = false;
  priority = 0;
  servedAt = 0;
  chosen = false;

  constructor(id: number, conversation: Conversation) {
    this.id = id;
    this.conversation = conversation;
  }

  get decoding(): boolean {
    return this.computed >= this.target;
  }
}

/** Runs until every conversation has ended. */
export function simulateChat(setup: ChatSetup): ChatResult {
  return new ChatRun(setup).run();
}

class ChatRun {
  readonly #setup: ChatSetup;
  readonly #memory: ChatMemory;
  readonly #random: () => number;
  readonly #chats: Chat[];
  /** Things to come, soonest last. */
  #agenda: { at: number; run: () => void }[] = [];
  readonly #live = new Set<Chat>();
  readonly #fresh = new Set<Chat>();
  #now = 0;
  #linkFreeAt = 0;
  #steps = 0;
  #ended = 0;
  #dirty = true;
  /** Who is computed for; null = to be found anew. */
  #running: readonly Chat[] | null = null;
  readonly #ttftMs: number[] = [];
  #tokens = 0;
  #stalledMs = 0;
  #turns = 0;

  constructor(setup: ChatSetup) {
    this.#setup = setup;
    this.#memory = new ChatMemory(setup.memory, setup.mechanisms);
    this.#random = seededRandom(setup.seed);
    this.#chats = setup.conversations.map((conversation, id) => new Chat(id, conversation));
    for (const chat of this.#chats) this.#later(chat.conversation.arrivesAtMs, () => this.#arrive(chat));
  }

  run(): ChatResult {
    while (this.#ended < this.#chats.length) {
      this.#passTime();
      if (this.#dirty) this.#schedule();
      this.#running ??= [...this.#live].filter((chat) => chat.chosen && chat.where === 'here');
      const running = this.#running;
      const { costs, chunkTokens } = this.#setup;
      const step = planStep(running, this.#fresh, { costs, chunkTokens });
      if (step === null || !this.#fits(step)) {
        this.#wait();
        continue;
      }
      this.#now += step.ms;
      this.#steps += 1;
      for (const { sequence, tokens } of step.prefills) this.#prefilled(sequence, tokens);
      for (const chat of step.decodes) this.#spoke(chat);
      if (this.#steps % this.#setup.updateEvery === 0) this.#update();
    }
    return {
      ttftMs: this.#ttftMs,
      tokens: this.#tokens,
      makespanMs: this.#now,
      stalledMs: this.#stalledMs,
      traffic: this.#memory.traffic,
      turns: this.#turns,
    };
  }

  /** Whether HBM has room for what the step computes: what leaves asynchronously is not free yet. */
  #fits({ prefills, decodes }: Step<Chat>): boolean {
    const { hbm } = this.#memory;
    const more = (chat: Chat, tokens: number) => Math.max(0, this.#memory.blocksOf(chat.computed + tokens) - hbm.count(chat.id));
    let blocks = decodes.reduce((sum, chat) => sum + more(chat, 1), 0);
    for (const { sequence, tokens } of prefills) blocks += more(sequence, tokens);
    return hbm.used + blocks <= hbm.blocks;
  }

  #later(at: number, run: () => void): void {
    const index = this.#agenda.findIndex((other) => other.at <= at);
    this.#agenda.splice(index < 0 ? this.#agenda.length : index, 0, { at, run });
  }

  #passTime(): void {
    for (let next = this.#agenda.at(-1); next && next.at <= this.#now; next = this.#agenda.at(-1)) {
      this.#agenda.pop();
      next.run();
    }
  }

  /** Nothing can be computed: until something happens. */
  #wait(): void {
    const next = this.#agenda.at(-1);
    if (!next) throw new Error('nothing to do and nothing to come, although conversations have not ended');
    const until = Math.max(next.at, this.#now);
    if (this.#live.size > 0 && [...this.#live].some(({ active }) => active)) this.#stalledMs += until - this.#now;
    this.#now = until;
  }

  #arrive(chat: Chat): void {
    chat.turn += 1;
    const turn = chat.conversation.turns[chat.turn];
    if (!turn) throw new RangeError(`conversation ${chat.id} has no turn ${chat.turn}`);
    chat.active = true;
    chat.waitsForFirst = true;
    chat.arrivedAt = this.#now;
    chat.length += turn.promptTokens;
    chat.target = chat.length;
    chat.left = turn.outputTokens;
    chat.priority = this.#random();
    this.#live.add(chat);
    this.#fresh.add(chat);
    this.#dirty = true;
  }

  #update(): void {
    const { priorities } = this.#setup;
    for (const chat of this.#live) {
      const favoured = priorities === 'markov' && chat.servedAt >= this.#now - 2_000;
      chat.priority = favoured ? 0.5 + this.#random() / 2 : this.#random();
    }
    this.#dirty = true;
  }

  /** Who is to be in HBM by priority, who has to go for them, and who comes. */
  #schedule(): void {
    this.#dirty = false;
    this.#running = null;
    const { maxSequences, memory } = this.#setup;
    const wanted = [...this.#live].filter(({ active }) => active).sort((a, b) => b.priority - a.priority);
    let blocks = 0;
    let count = 0;
    for (const chat of this.#live) chat.chosen = false;
    for (const chat of wanted) {
      const need = this.#need(chat);
      if (count >= maxSequences || blocks + need > memory.hbmBlocks) continue;
      chat.chosen = true;
      count += 1;
      blocks += need;
    }
    const { hbm } = this.#memory;
    let lacking = hbm.used - memory.hbmBlocks;
    for (const chat of this.#live) {
      if (chat.chosen) lacking += this.#need(chat) - hbm.count(chat.id);
      // Its blocks are on their way out.
      if (chat.where === 'leaving') lacking -= hbm.count(chat.id);
    }
    // Those between two turns first, the longest idle before others; then the least of those that wait.
    const goers = [...this.#live]
      .filter(({ chosen, where }) => !chosen && where === 'here')
      .sort((a, b) => Number(a.active) - Number(b.active) || (a.active ? a.priority - b.priority : a.servedAt - b.servedAt));
    // Moved beside computing, idle ones go before their room is wanted: what comes then finds it at once, and in longer pieces.
    const ahead = this.#setup.mechanisms.asynchronous ? memory.hbmBlocks * AHEAD : 0;
    for (const chat of goers) {
      if (lacking + (chat.active ? 0 : ahead) <= 0) break;
      lacking -= hbm.count(chat.id);
      this.#leave(chat);
    }
    for (const chat of wanted) if (chat.chosen && chat.where === 'away') this.#come(chat);
  }

  /** Blocks until priorities change again. */
  #need({ length, left }: Chat): number {
    return this.#memory.blocksOf(length + Math.min(left, this.#setup.updateEvery) + 1);
  }

  #leave(chat: Chat): void {
    const ms = this.#memory.out(chat.id, chat.computed, this.#now);
    chat.where = 'leaving';
    this.#overLink(ms, () => {
      this.#memory.hbm.release(chat.id);
      chat.where = 'away';
      this.#dirty ||= this.#setup.mechanisms.asynchronous;
    });
  }

  /** Brings what host memory has of it, if that is faster than computing it; the rest is computed. */
  #come(chat: Chat): void {
    const { memory, costs } = this.#setup;
    const { hbm, meter } = this.#memory;
    const whole = this.#memory.blocksOf(chat.computed);
    if (hbm.used + whole > memory.hbmBlocks || !hbm.take(chat.id, whole)) return;
    const plan = planOnboard({
      blocks: whole,
      resident: 0,
      offers: { host: { blocks: this.#memory.hostBlocks(chat.id), price: meter.price(this.#now), blocksPerCopy: memory.hbmBlocks } },
      blockTokens: memory.blockTokens,
      bytesPerBlock: memory.blockBytes,
      prefillMs: (tokens, context) =>
        tokens <= 0
          ? 0
          : costs.prefillFixed + costs.prefillPerToken * tokens + costs.prefillPerTokenContext * tokens * (context + tokens / 2),
    });
    const [first] = plan.steps;
    const blocks = first?.from === 'host' ? first.end : 0;
    const ms = blocks === 0 ? 0 : this.#memory.in(chat.id, blocks, this.#now);
    if (blocks < whole) {
      hbm.truncate(chat.id, blocks);
      chat.computed = Math.min(chat.computed, blocks * memory.blockTokens);
      // What is lost is computed again before it goes on.
      chat.target = chat.length;
      this.#fresh.add(chat);
    }
    chat.where = 'coming';
    this.#overLink(ms, () => {
      chat.where = 'here';
      this.#dirty ||= this.#setup.mechanisms.asynchronous;
    });
  }

  /** One copy after the other. Asynchronous: others go on meanwhile; else everybody waits. */
  #overLink(ms: number, done: () => void): void {
    if (!this.#setup.mechanisms.asynchronous) {
      this.#now += ms;
      this.#stalledMs += ms;
      done();
      this.#running = null;
      return;
    }
    this.#linkFreeAt = Math.max(this.#linkFreeAt, this.#now) + ms;
    if (ms === 0) done();
    else this.#later(this.#linkFreeAt, done);
  }

  #prefilled(chat: Chat, tokens: number): void {
    this.#fresh.delete(chat);
    this.#grow(chat, chat.computed + tokens);
    chat.servedAt = this.#now;
    if (chat.decoding) this.#say(chat);
  }

  #spoke(chat: Chat): void {
    this.#grow(chat, chat.computed + 1);
    chat.servedAt = this.#now;
    this.#say(chat);
  }

  #grow(chat: Chat, computed: number): void {
    const { hbm } = this.#memory;
    const more = this.#memory.blocksOf(computed) - hbm.count(chat.id);
    if (more > 0 && !hbm.take(chat.id, more)) throw new Error(`HBM has no room for conversation ${chat.id}, which was chosen`);
    chat.computed = computed;
  }

  #say(chat: Chat): void {
    if (chat.waitsForFirst) {
      this.#ttftMs.push(this.#now - chat.arrivedAt);
      chat.waitsForFirst = false;
    }
    chat.length += 1;
    chat.target = chat.length;
    chat.left -= 1;
    this.#tokens += 1;
    if (chat.left > 0) {
      // Its last token is fed in the next step, which is a decode.
      chat.target = chat.computed;
      return;
    }
    this.#turnEnded(chat);
  }

  #turnEnded(chat: Chat): void {
    this.#turns += 1;
    chat.active = false;
    chat.chosen = false;
    this.#dirty = true;
    const next = chat.conversation.turns[chat.turn + 1];
    if (next) return this.#later(this.#now + next.thinkMs, () => this.#arrive(chat));
    this.#ended += 1;
    this.#memory.hbm.release(chat.id);
    this.#memory.forget(chat.id);
    this.#live.delete(chat);
  }
}
