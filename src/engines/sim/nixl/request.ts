/** One request on its way: its choices at the core, their pieces to the client. */
import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { SluiceError } from '../../../shared/index.ts';
import type { RequestMetrics } from '../../openai/metrics.ts';
import type { Face } from '../../openai/routes.ts';
import type { HandOffTicket, PromptReport } from '../../port.ts';
import type { SimCore } from '../simcore.ts';
import { type Answer, StreamAnswer, WholeAnswer } from './answer.ts';
import type { VllmCall } from './call.ts';
import { Choice } from './choice.ts';
import { faultOf } from './faults.ts';
import { transferAnswer } from './params.ts';
import { type Piece, Shapes } from './shapes.ts';

/** vLLM sets no limit to a pull; the puller has its own. */
const PULL_DEADLINE_MS = 0x7fff_ffff;
const NO_TOKENS = new Int32Array(0);
/** Characters of a client's id in a lease's name. */
const ID_CHARACTERS = 64;

export interface VllmRequestOptions {
  readonly face: Face;
  readonly core: SimCore;
  readonly call: VllmCall;
  readonly response: ServerResponse;
}

export class VllmRequest {
  readonly #options: VllmRequestOptions;
  readonly #answer: Answer;
  readonly #metrics: RequestMetrics;
  readonly #choices: Choice[] = [];
  /** The name under which the prompt of the first choice is kept; null = nothing is asked to be kept. */
  readonly #keepAs: string | null;
  #cachedTokens: number | null = null;
  #over = false;

  constructor(options: VllmRequestOptions) {
    this.#options = options;
    const { face, call, response } = options;
    const target = { response, call, shapes: new Shapes(call, face.pieces), bufferedBytes: face.limits.streamBufferedBytes };
    this.#answer = call.stream ? new StreamAnswer(target) : new WholeAnswer(target);
    this.#metrics = face.metrics.request(call);
    const name = `${call.id.slice(0, ID_CHARACTERS)}-0-${randomBytes(4).toString('hex')}`;
    this.#keepAs = call.transfer.kind === 'keep' ? name : null;
  }

  run(): void {
    const { core, call, response, face } = this.#options;
    response.on('close', () => this.#leave());
    const { transfer } = call;
    if (transfer.kind === 'take') this.#cachedTokens = transfer.cachedTokens;
    // Nothing will ever come of it, until its client leaves.
    if (transfer.kind === 'stuck' && !core.dead) return;
    if (transfer.kind === 'deadly') core.die();
    if (transfer.kind === 'unreadable') return this.#fail(new SluiceError('internal', 'the transfer could not be set up'));
    for (const prompt of call.prompts) {
      for (let n = 0; n < call.choices; n += 1) this.#choices.push(this.#choice(prompt, n, face));
    }
    for (const choice of this.#choices) {
      if (!this.#over) this.#start(choice, transfer.kind === 'take' ? transfer.ticket : null);
    }
  }

  #choice(prompt: Int32Array, n: number, face: Face): Choice {
    const { call } = this.#options;
    const sampling = { ...call.sampling, seed: (call.sampling.seed + n) >>> 0 };
    return new Choice({
      index: this.#choices.length,
      prompt,
      sampling,
      stops: call.stops,
      pieces: face.pieces,
      events: {
        started: (choice, report) => this.#started(choice, report),
        told: (choice, piece) => this.#told(choice, piece),
        failed: (error) => this.#fail(error),
      },
    });
  }

  #start(choice: Choice, ticket: HandOffTicket | null): void {
    const { core, call } = this.#options;
    const keepAs = this.#keepAs === null ? null : `${this.#keepAs}${choice.index === 0 ? '' : `-${choice.index}`}`;
    const { prompt, sampling } = choice;
    const request = {
      id: call.id,
      prompt,
      sampling,
      resumed: NO_TOKENS,
      salt: call.salt,
      ticket,
      keepAs,
      pullDeadlineMs: PULL_DEADLINE_MS,
    };
    choice.run((sink) => core.generate(request, sink));
  }

  #started(choice: Choice, report: PromptReport): void {
    const { hbm, peer } = report.reused;
    const { blockTokens } = this.#options.core.info.identity;
    // Whole blocks count, and the last token of a prompt is never among them.
    this.#cachedTokens ??= Math.floor((hbm + peer) / blockTokens) * blockTokens;
    if (choice.index !== 0) return;
    this.#metrics.started(report);
    this.#answer.start();
  }

  #told(choice: Choice, piece: Piece): void {
    if (this.#over) return;
    if (piece.ids.length > 0) this.#metrics.token();
    const soFar = { promptTokens: choice.prompt.length, completionTokens: choice.tokens };
    if (!this.#answer.piece(piece, soFar)) {
      this.#options.face.logger.warn({ requestId: this.#options.call.id }, 'a client does not read its stream; the request is cancelled');
      this.#options.response.destroy();
      return;
    }
    if (this.#choices.every(({ over }) => over)) this.#finish(piece);
  }

  #finish({ reason }: Piece): void {
    this.#over = true;
    const { call } = this.#options;
    this.#metrics.ended(reason ?? 'abort');
    const promptTokens = call.prompts.reduce((sum, prompt) => sum + prompt.length, 0);
    const completionTokens = this.#choices.reduce((sum, choice) => sum + choice.tokens, 0);
    const cachedTokens = this.#cachedTokens ?? 0;
    this.#answer.finish({ promptTokens, completionTokens, cachedTokens }, reason === 'abort' ? null : this.#kept(cachedTokens));
  }

  #kept(cachedTokens: number): object | null {
    const [first] = this.#choices;
    if (this.#keepAs === null || !first) return null;
    const tokens = first.prompt.length + first.tokens - 1;
    return transferAnswer(this.#options.core.info, {
      requestId: this.#keepAs,
      tokens,
      cachedTokens: first.tokens === 1 ? cachedTokens : null,
    });
  }

  #fail(error: SluiceError): void {
    if (this.#over) return;
    // A draining vLLM takes requests and gives them up at once.
    if (error.code === 'unavailable') {
      for (const choice of this.#choices) {
        choice.cancel();
        this.#answer.piece(
          { index: choice.index, text: '', ids: [], scored: [], reason: 'abort', stop: null, promptIds: choice.prompt },
          NOTHING,
        );
      }
      this.#finish({ index: 0, text: '', ids: [], scored: [], reason: 'abort', stop: null, promptIds: null });
      return;
    }
    this.#over = true;
    this.#metrics.ended('error');
    for (const choice of this.#choices) choice.cancel();
    this.#answer.fail(faultOf(error));
  }

  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    this.#metrics.ended('abort');
    for (const choice of this.#choices) choice.cancel();
    // Giving up what waits for blocks that nobody fetches ends vLLM's core.
    const { call, core } = this.#options;
    if (call.transfer.kind === 'stuck') core.die();
  }
}

const NOTHING = { promptTokens: 0, completionTokens: 0 };
