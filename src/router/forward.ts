/**
 * Requests for models of other routers: passed on as they came, and their answers passed back as they come. The router that has the model
 * does all the rest, so it keeps the record too, under the same request id.
 *
 * Invariants
 * - A request is passed on once: what was passed on before is not again, so routers that name each other do not go in circles.
 * - As many at a time as the router serves itself, each within `deadlines.totalMs`.
 * - An answer that breaks off breaks off for the client too; it never ends as if it were whole.
 */
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import { Agent, type Clock, errorBody, request, SluiceError } from '../shared/index.ts';
import type { ForwardedModel, RouterConfig } from './config.ts';

export interface ForwardCall {
  readonly id: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly response: ServerResponse;
}

export interface ForwardQuestion {
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The model of this router. */
  readonly served: string;
}

export type ForwardOutcome = 'ok' | 'refused' | 'rejected' | 'cancelled' | 'failed';

/** Set on what is passed on. */
const FORWARDED = 'x-sluice-forwarded';
/** Of one connection, or made anew. */
const NOT_PASSED =
  /^(?:connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|host|content-length|expect|x-request-id|x-sluice-.*)$/;
const NOT_PASSED_BACK = /^(?:connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|x-request-id)$/;
const MAX_IDLE = 64;

export class Forwarder {
  readonly #models: ReadonlyMap<string, ForwardedModel>;
  readonly #config: RouterConfig;
  readonly #clock: Clock;
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: MAX_IDLE });
  readonly #outcomes: Record<ForwardOutcome, number> = { ok: 0, refused: 0, rejected: 0, cancelled: 0, failed: 0 };
  #inFlight = 0;

  constructor(config: RouterConfig, clock: Clock) {
    this.#models = new Map(config.models.map((model) => [model.name, model]));
    this.#config = config;
    this.#clock = clock;
  }

  get names(): readonly string[] {
    return [...this.#models.keys()];
  }

  get outcomes(): Readonly<Record<ForwardOutcome, number>> {
    return this.#outcomes;
  }

  /** Where a request goes that asks for a model which is not served here; null = nowhere, and what is wrong with it is said here. */
  destination({ headers, body, served }: ForwardQuestion): ForwardedModel | null {
    if (this.#models.size === 0 || headers[FORWARDED] !== undefined) return null;
    const model = modelOf(body);
    return model === null || model === served ? null : (this.#models.get(model) ?? null);
  }

  /** @param onEnd called once, when nothing more goes to the client */
  pass({ name, url }: ForwardedModel, call: ForwardCall, onEnd: () => void): void {
    const { response, id } = call;
    const finish = (outcome: ForwardOutcome) => {
      this.#outcomes[outcome] += 1;
      onEnd();
    };
    if (this.#inFlight >= this.#config.limits.inFlight) {
      refuse(response, id, new SluiceError('queue_full', `too many requests for models of other routers`, { retryAfterSeconds: 1 }));
      return finish('rejected');
    }
    this.#inFlight += 1;
    this.#send(url, call, (outcome, why) => {
      this.#inFlight -= 1;
      if (outcome === 'failed' && !response.headersSent) {
        const code = why === LATE ? 'deadline_exceeded' : 'unavailable';
        refuse(response, id, new SluiceError(code, `the router of the model ${JSON.stringify(name)} ${why}`, { retryAfterSeconds: 1 }));
      }
      finish(outcome);
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(url: string, { path, headers, body, response, id }: ForwardCall, onEnd: (outcome: ForwardOutcome, why: string) => void): void {
    let ended = false;
    const end = (outcome: ForwardOutcome, why = '') => {
      if (ended) return;
      ended = true;
      cancelDeadline();
      onEnd(outcome, why);
    };
    const kept = Object.entries(headers).filter(([name]) => !NOT_PASSED.test(name));
    const sent = request(`${url}${path}`, {
      method: 'POST',
      agent: this.#agent,
      headers: { ...Object.fromEntries(kept), 'content-length': body.length, 'x-request-id': id, [FORWARDED]: '1' },
    });
    const cancelDeadline = this.#clock.after(this.#config.deadlines.totalMs, () => {
      end('failed', LATE);
      sent.destroy();
      if (response.headersSent) response.destroy();
    });
    response.once('close', () => {
      if (response.writableFinished) return;
      sent.destroy();
      end('cancelled');
    });
    sent.on('error', () => end('failed', 'does not answer'));
    sent.on('response', (answer: IncomingMessage) => {
      response.writeHead(answer.statusCode ?? 502, { ...passedBack(answer.headers), 'x-request-id': id });
      // A stream's first event may take long: who asked is to know that it began.
      response.flushHeaders();
      pipeline(answer, response, (error) => {
        if (error) end('failed', 'broke off');
        else end((answer.statusCode ?? 502) < 400 ? 'ok' : 'refused');
      });
    });
    sent.end(body);
  }
}

function modelOf(body: Buffer): string | null {
  try {
    const { model } = Object(JSON.parse(body.toString('utf8')));
    return typeof model === 'string' ? model : null;
  } catch {
    return null; // no JSON: refused where it is read for good
  }
}

const LATE = 'did not answer in time';

function passedBack(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(([name, value]) => value !== undefined && !NOT_PASSED_BACK.test(name));
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? '']));
}

function refuse(response: ServerResponse, id: string, error: SluiceError): void {
  if (response.destroyed) return;
  const body = JSON.stringify(errorBody(error));
  const retryAfter = error.retryAfterSeconds === null ? {} : { 'retry-after': String(error.retryAfterSeconds) };
  response.writeHead(error.status, { 'content-type': 'application/json', 'x-request-id': id, ...retryAfter }).end(body);
}
