/** Real vLLM whose event socket is cut for a while: what it stored meanwhile is known once the socket heals, and nothing is lost. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RequestRecord } from '../../src/router/index.ts';
import { commandLine } from '../integration/up-process.ts';
import { type Answer, post, randomFrom, textOf, whole } from './client.ts';
import { Deployment, MODEL } from './deployment.ts';
import { until } from './running.ts';

const SEVER = fileURLToPath(new URL('./sever.py', import.meta.url));
const HEALED_MS = 30_000;

const deployment = new Deployment();
const random = randomFrom(29);

beforeAll(() => deployment.start({ prefill: 1, decode: 1 }), 400_000);
afterAll(async () => {
  expect(await deployment.close(), 'processes left over').toEqual([]);
}, 60_000);

interface Asked {
  readonly text: string;
  /** Leading blocks that the router believed to be on the prefill instance, whether it then used them or not. */
  readonly known: number;
}

async function ask(prompt: string): Promise<Asked> {
  const response = await post(deployment.url, bodyOf(prompt));
  const answer = (await response.json()) as Answer;
  expect(response.status, JSON.stringify(answer)).toBe(200);
  const id = response.headers.get('x-request-id');
  const record = (await (await fetch(`${deployment.running.adminUrl}/admin/requests/${id}`)).json()) as RequestRecord;
  const pair = record.attempts.at(-1)?.decision.candidates.find(({ prefill }) => prefill === 'prefill-0');
  expect(pair, JSON.stringify(record)).toBeDefined();
  return { text: answer.choices[0]?.text ?? '', known: pair?.cachedBlocks ?? 0 };
}

const bodyOf = (prompt: string) => ({ model: MODEL, prompt, max_tokens: 8, temperature: 0, ignore_eos: true });

/** Keeps the connections of an agent to the event socket of its engine cut until `heal`, which resolves to the number of cuts. */
function sever(id: string): { readonly heal: () => Promise<number> } {
  const [agent = 0] = deployment.running.treeOf(id);
  const [engine = 0] = deployment.running.vllmOf(id);
  const port = /"endpoint": ?"tcp:\/\/\*:(\d+)"/.exec(commandLine(engine))?.[1];
  if (port === undefined) throw new Error(`${id} publishes no events: ${commandLine(engine)}`);
  // The engine's own Python: where vLLM runs there is one.
  const child: ChildProcess = spawn(readlinkSync(`/proc/${engine}/exe`), [SEVER, String(agent), port], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return {
    heal: async () => {
      child.stdin?.end();
      return Number(child.stdout ? await text(child.stdout) : Number.NaN);
    },
  };
}

it('is followed again from where it was cut: nothing that is held is forgotten, and what came meanwhile is learnt', async () => {
  // Asked of the engine itself, so that the router learns of it by events alone.
  const { requestUrl } = await deployment.running.serving('prefill-0');
  const before = textOf(random, 1_500);
  await whole(requestUrl, bodyOf(before));
  await until('the router knows the first prompt', HEALED_MS, async () => (await ask(before)).known > 0);

  const cut = sever('prefill-0');
  const meanwhile = textOf(random, 1_500);
  const alone = await whole(requestUrl, bodyOf(meanwhile));
  expect(await cut.heal()).toBeGreaterThan(0);

  await until('the router knows the prompt of the time without events', HEALED_MS, async () => {
    const again = await ask(meanwhile);
    expect(again.text).toBe(alone.choices[0]?.text);
    return again.known > 0;
  });
  expect((await ask(before)).known).toBeGreaterThan(0);
}, 120_000);
