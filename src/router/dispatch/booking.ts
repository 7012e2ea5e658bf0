/** Where a flight goes: placement is asked, what it chose is reserved, and who failed the request is left out from then on. */
import { SluiceError } from '../../shared/index.ts';
import type { ParsedRequest } from '../edge/index.ts';
import type { Group } from '../instances/group.ts';
import type { Instance } from '../instances/instance.ts';
import { type Hints, NO_HINTS } from '../kv/hints.ts';
import type { Choice, Question } from './choose.ts';
import type { DispatchContext } from './context.ts';
import { decodesAlone } from './dialects/alone.ts';
import { type Speech, type Subject, speechOf } from './dialects/index.ts';
import { Holdings } from './holdings.ts';
import { nobodyError } from './reports.ts';

const EXPECT_MS = 5_000;
const HALVES =
  'a request for several choices or prompts, or about the prompt itself, needs an instance that does all of it, and this engine has pairs only';

export class Booking {
  readonly holdings: Holdings;
  /** The present one. */
  choice: Choice | null = null;
  /** How the request is spoken; kept while the groups asked are of one dialect. */
  speech: Speech | null = null;
  readonly #context: DispatchContext;
  readonly #request: ParsedRequest;
  readonly #subject: Subject;
  readonly #probe: boolean;
  readonly #excluded = new Set<Instance>();
  #hints: Hints = NO_HINTS;

  constructor(context: DispatchContext, subject: Subject, probe: boolean) {
    this.#context = context;
    this.#request = subject.request;
    this.#subject = subject;
    this.#probe = probe;
    this.holdings = new Holdings(context.clock, context.held);
  }

  /** Goes on at once, or when the shared directory was asked, where that knows more than this router does: within its budget. */
  afterHints(goOn: () => void): void {
    const { hints, chooser } = this.#context;
    if (hints === null || this.#probe) return goOn();
    const keys = chooser.unknownKeys(this.#question(false, this.#excluded));
    if (keys === null) return goOn();
    void hints.ask(keys).then((found) => {
      this.#hints = found;
      goOn();
    });
  }

  /** Takes the cheapest way; null when there is none. @param sameGroup the client has something of the answer */
  take(sameGroup: boolean): Choice | null {
    const choice = this.#choose(this.#question(sameGroup, this.#excluded));
    if (choice) this.choice = choice;
    return choice;
  }

  /** Reserves what was chosen. */
  reserve(choice: Choice): Speech {
    const speech = this.#speechFor(choice.group);
    this.#hold(choice, speech);
    return speech;
  }

  /** Tells the directory what an instance of the present choice will soon hold: its leg begins. One that is never asked will hold nothing. */
  expectBlocks(instance: Instance): void {
    if (this.choice === null) return;
    const { prefill, prompt, decision } = this.choice;
    const { cachedBlocks, pulledBlocks } = decision.chosen;
    const held = prefill === null || prefill === instance ? cachedBlocks : Math.max(0, prompt.keys.length - pulledBlocks);
    if (held < prompt.keys.length) this.#context.directory.expect(instance.id, prompt.keys.subarray(held), EXPECT_MS);
  }

  /** From now on. */
  leaveOut(instance: Instance): void {
    this.#excluded.add(instance);
  }

  /** Whether instances that are well could do it without `without`. */
  hasOther(without: readonly Instance[], sameGroup: boolean): boolean {
    const { chooser, clock } = this.#context;
    return chooser.hasOther(this.#question(sameGroup, this.#excluded), without, clock.now());
  }

  /** What would be chosen without `without`; nothing is reserved. In the same group, whose speech is in use. */
  other(without: readonly Instance[]): Choice | null {
    return this.#choose(this.#question(true, new Set([...this.#excluded, ...without])));
  }

  /** Where the stream could go on without `source`; nothing is reserved. */
  target(source: Instance): Choice | null {
    return this.#choose({ ...this.#question(true, new Set(this.#excluded).add(source)), alone: true });
  }

  /** Reserves a place for the stream as it is now, beside what it holds. */
  holdTarget({ decode, prompt }: Choice, speech: Speech): void {
    this.holdings.hold(decode, { prefillTokens: 0, contextTokens: prompt.tokens + speech.events.tokens });
  }

  /** When the first leg of the present choice should be done, had it begun now: milliseconds. */
  get predictedPrefillMs(): number {
    const chosen = this.choice?.decision.chosen;
    if (chosen === undefined) return 0;
    // Where the decode instance waits itself, the prefill instance answers when all is handed over.
    const { queueMs, onboardMs, prefillMs } = chosen.terms;
    return this.speech?.concurrent ? chosen.ttftMs : queueMs + onboardMs + prefillMs;
  }

  /** Nobody is there to take the request. */
  get nobody(): SluiceError {
    const { undivided = false, dialect = 'sluice' } = this.speech ?? {};
    const isHalves = undivided && !decodesAlone(dialect);
    return isHalves ? new SluiceError('unsupported_parameter', HALVES) : nobodyError();
  }

  #choose(question: Question): Choice | null {
    return this.#context.chooser.choose(question, this.#context.clock.now());
  }

  #question(sameGroup: boolean, excluded: ReadonlySet<Instance>): Question {
    const speechFor = (group: Group) => this.#speechFor(group);
    const group = sameGroup ? (this.choice?.group ?? null) : null;
    return { request: this.#request, speechFor, excluded, group, probe: this.#probe, hints: this.#hints };
  }

  #speechFor(group: Group): Speech {
    const { dialect } = group.info;
    if (this.speech?.dialect !== dialect) this.speech = speechOf(dialect, this.#subject);
    return this.speech;
  }

  #hold({ prefill, decode, prompt, decision, group }: Choice, speech: Speech): void {
    const { cachedBlocks, storedBlocks } = decision.chosen;
    const uncached = Math.max(0, prompt.tokens - (cachedBlocks + storedBlocks) * group.info.identity.blockTokens);
    if (prefill) this.holdings.hold(prefill, { prefillTokens: uncached, contextTokens: 0 });
    this.holdings.hold(decode, { prefillTokens: prefill ? 0 : uncached, contextTokens: prompt.tokens + speech.spared });
  }
}
