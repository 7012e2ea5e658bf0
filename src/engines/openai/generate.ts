/** `POST /v1/completions` and `/v1/chat/completions`: from a body to a running request. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SluiceError } from '../../shared/index.ts';
import type { EngineRequest, GenerateSink, HandOffTicket, PromptReport, Running } from '../port.ts';
import { parseBody } from './body.ts';
import { type Call, type CallKind, parseCall } from './call.ts';
import { Generation } from './generation.ts';
import { readDirections } from './headers.ts';
import { StreamOutput, WholeOutput } from './output.ts';
import { sendJson } from './replies.ts';
import type { Face } from './routes.ts';

export async function generate(face: Face, kind: CallKind, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { core, clock } = face;
  const bytes = await face.bodies.read(request);
  const directions = readDirections(request.headers, {
    vocabularySize: core.tokenizer.vocabularySize,
    contextTokens: core.info.contextTokens,
    newId: face.newId,
  });
  try {
    const call = parseCall(kind, parseBody(bytes), {
      info: core.info,
      tokenizer: core.tokenizer,
      directions,
      created: Math.floor(clock.wall() / 1000),
      fallbackSeed: face.newSeed(),
    });
    if (directions.prefillLeg) await prefillLeg(face, call, response);
    else if (directions.holdLeg) await face.sessions.hold(face, call, { request: engineRequest(face, call), response });
    else run(face, call, response);
  } catch (thrown) {
    // Only here is the request's id known, which every answer carries.
    if (!response.headersSent) response.setHeader('x-request-id', directions.requestId);
    throw thrown;
  }
}

function engineRequest(face: Face, call: Call): EngineRequest {
  const { directions } = call;
  // Half of the deadline: what does not come by then can still be recomputed.
  const share = directions.deadlineMs === null ? face.limits.pullMs : Math.min(face.limits.pullMs, directions.deadlineMs / 2);
  return {
    id: call.requestId,
    prompt: call.prompt,
    resumed: directions.resumed,
    sampling: call.sampling,
    salt: directions.salt,
    ticket: directions.ticket,
    pullDeadlineMs: directions.pullMs ?? share,
  };
}

interface Prefilled {
  readonly ticket: HandOffTicket;
  readonly report: PromptReport;
}

/** Null when the client went away meanwhile. @throws SluiceError of the core, deadline_exceeded */
function prefill(face: Face, call: Call, response: ServerResponse): Promise<Prefilled | null> {
  const { deadlineMs } = call.directions;
  return new Promise((resolve, reject) => {
    let running: Running | null = null;
    let ended = false;
    const end = (finish: () => void) => {
      if (ended) return;
      ended = true;
      cancelDeadline();
      response.removeListener('close', leave);
      finish();
      // Without effect if it is over; a core that answered before it returned is not yet known here.
      running?.cancel();
    };
    const leave = () => end(() => resolve(null));
    const late = new SluiceError('deadline_exceeded', `the prefill did not end within ${deadlineMs} ms (x-sluice-deadline-ms)`);
    const cancelDeadline = deadlineMs === null ? () => {} : face.clock.after(deadlineMs, () => end(() => reject(late)));
    response.on('close', leave);
    running = face.core.prefill(engineRequest(face, call), {
      done: (ticket, report) => {
        // Nobody will pull for a client that is gone.
        if (ended) face.core.releaseLease(ticket.lease);
        end(() => resolve({ ticket, report }));
      },
      error: (error) => end(() => reject(error)),
    });
  });
}

async function prefillLeg(face: Face, call: Call, response: ServerResponse): Promise<void> {
  const prefilled = await prefill(face, call, response);
  if (prefilled === null) return;
  // An answer that does not get out names a lease that nobody will use.
  response.on('close', () => {
    if (!response.writableFinished) face.core.releaseLease(prefilled.ticket.lease);
  });
  sendJson(response, 200, { object: 'sluice.handoff', ...prefilled }, { 'x-request-id': call.requestId });
}

function run(face: Face, call: Call, response: ServerResponse): void {
  const { session } = call.directions;
  // Only a stream can go on elsewhere.
  const place = session === null || !call.stream ? null : face.sessions.begin(session);
  runCall(face, { call, response, onMoved: () => place?.moved() }, (sink) => {
    const running = face.core.generate(engineRequest(face, call), sink);
    place?.runs(running);
    return running;
  });
  onceClosed(response, () => place?.ended());
}

/** Calls `then` when the answer is over, also where the client was gone before. */
export function onceClosed(response: ServerResponse, then: () => void): void {
  if (response.destroyed) then();
  else response.on('close', then);
}

export interface Run {
  readonly call: Call;
  readonly response: ServerResponse;
  readonly onMoved: () => void;
}

/** Brings what `begin` starts to the client. */
export function runCall(face: Face, { call, response, onMoved }: Run, begin: (sink: GenerateSink) => Running): void {
  const target = { response, call, pieces: face.pieces, bufferedBytes: face.limits.streamBufferedBytes };
  const generation = new Generation({
    call,
    pieces: face.pieces,
    output: call.stream ? new StreamOutput(target) : new WholeOutput(target),
    clock: face.clock,
    metrics: face.metrics.request(call),
    onMoved,
    onSlowClient: () => {
      face.logger.warn({ requestId: call.requestId }, 'a client does not read its stream; the request is cancelled');
      response.destroy();
    },
  });
  if (response.destroyed) {
    generation.cancel();
    return;
  }
  response.on('close', () => generation.cancel());
  generation.run(begin);
}
