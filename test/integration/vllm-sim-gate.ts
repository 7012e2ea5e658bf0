/** A proxy in front of an engine, so that things can happen to the engine right before or after what passes. */
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export type Leg = 'prefill' | 'decode' | 'other';

export interface Events {
  /** A leg of a client's request came and is not yet passed on. */
  asked?(leg: Leg): Promise<void> | void;
  /** An engine began to answer, and nothing of it is passed on yet. */
  answered?(leg: Leg): Promise<void> | void;
  /** Count of pieces of this answer passed on so far. */
  passed?(leg: Leg, pieces: number): Promise<void> | void;
}

export class Gate {
  readonly #target: string;
  readonly #mark: string;
  readonly #server: Server;
  events: Events = {};
  /** Legs of clients' requests, in the order in which they came. */
  readonly asked: Leg[] = [];

  /** @param mark what only clients' requests contain; the router has some of its own */
  constructor(target: string, mark: string) {
    this.#target = target;
    this.#mark = mark;
    this.#server = createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy());
    });
  }

  listen(): Promise<string> {
    return new Promise((resolve) => {
      this.#server.listen(0, '127.0.0.1', () => {
        const address = this.#server.address();
        resolve(`http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`);
      });
    });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const leg = this.#note(request, body);
    await this.events.asked?.(leg);
    const answer = await this.#ask(request, body, response);
    await this.events.answered?.(leg);
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    response.flushHeaders();
    let pieces = 0;
    for await (const piece of answer) {
      response.write(piece);
      pieces += 1;
      await this.events.passed?.(leg, pieces);
    }
    response.end();
  }

  #note(request: IncomingMessage, body: Buffer): Leg {
    const text = body.toString('utf8');
    if (!request.url?.startsWith('/v1/') || !text.includes(this.#mark)) return 'other';
    const leg = text.includes('"do_remote_decode":true') ? 'prefill' : 'decode';
    this.asked.push(leg);
    return leg;
  }

  #ask(request: IncomingMessage, body: Buffer, response: ServerResponse): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { method, url, headers } = request;
      const onward = httpRequest(`${this.#target}${url}`, { method: method ?? 'GET', headers }, resolve);
      onward.on('error', reject);
      response.on('close', () => onward.destroy());
      onward.end(body);
    });
  }
}
