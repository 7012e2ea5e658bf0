import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Planned, replay, saturate } from './vllm-replay.ts';

const ANSWER = [
  { choices: [{ index: 0, text: 'a', finish_reason: 'length' }] },
  { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } },
];

/** A front that holds requests until it is told to answer them. */
class Front {
  readonly asked: string[] = [];
  readonly #held = new Map<string, ServerResponse>();
  readonly #server: Server;
  #onAsked: (() => void) | null = null;
  most = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => {
        body += part.toString();
      });
      request.on('end', () => {
        this.asked.push(body);
        this.#held.set(body, response);
        this.most = Math.max(this.most, this.#held.size);
        this.#onAsked?.();
      });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async until(count: number): Promise<void> {
    while (this.asked.length < count) {
      await new Promise<void>((resolve) => {
        this.#onAsked = resolve;
      });
    }
  }

  answer(body: string): void {
    const response = this.#held.get(body);
    this.#held.delete(body);
    response?.end(`${ANSWER.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')}data: [DONE]\n\n`);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

function planned(body: string, after: number | null = null): Planned {
  return { atMs: 0, after, body, tokens: 1 };
}

let front: Front;
let url = '';

beforeEach(async () => {
  front = new Front();
  url = await front.listen();
});

afterEach(() => front.close());

describe('replay', () => {
  it('sends what is due without waiting for answers, and a turn only after the turn before', async () => {
    const playing = replay(url, [planned('a'), planned('a2', 0), planned('b')], 5000);
    await front.until(2);
    expect([...front.asked].sort()).toEqual(['a', 'b']);
    front.answer('a');
    await front.until(3);
    expect(front.asked[2]).toBe('a2');
    front.answer('a2');
    front.answer('b');
    const played = await playing;
    expect(played.map(({ outcome }) => outcome.kind)).toEqual(['answered', 'answered', 'answered']);
    expect(played[1]?.startedMs).toBeGreaterThanOrEqual(played[0]?.endedMs ?? Number.NaN);
  });

  it('ends although an answer never comes', async () => {
    const [played] = await replay(url, [planned('a')], 50);
    expect(played?.outcome).toEqual({ kind: 'failed', reason: 'not answered in time' });
  });
});

describe('saturate', () => {
  it('keeps as many under way as there are connections, in order, to the end of the plan', async () => {
    const plan = ['a', 'b', 'c', 'd'].map((body) => planned(body));
    const running = saturate(url, plan, { connections: 2, seconds: 30, patienceMs: 5000 });
    for (const [index, body] of ['a', 'b', 'c', 'd'].entries()) {
      await front.until(Math.min(index + 2, 4));
      front.answer(body);
    }
    const { outcomes } = await running;
    expect(outcomes).toHaveLength(4);
    expect(front.most).toBe(2);
    expect([...front.asked].sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('starts nothing when the time is over', async () => {
    const { outcomes } = await saturate(url, [planned('a')], { connections: 2, seconds: 0, patienceMs: 100 });
    expect(outcomes).toEqual([]);
  });
});
