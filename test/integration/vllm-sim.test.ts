/**
 * The router over simulated vLLM processes with real pulls between them, struck at the worst moments. Whatever happens, a greedy
 * request ends in the words of one undisturbed engine, and nothing stays behind.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Engine, Fleet, MODEL, until } from './fleet.ts';
import { type Events, Gate, type Leg } from './vllm-sim-gate.ts';

/** Prompts that are long enough to be handed over take about a fifth of a second. */
const COSTS = { prefillFixed: 20, prefillPerToken: 0.2, stepFixed: 4, pullFixed: 0.5, pullPerMiB: 0.1 };
const CONTACT_MS = 1_000;
const DEADLINES = { prefillMs: 3_000, pullMs: 3_000, firstTokenMs: 8_000, idleMs: 4_000 };
const fleet = new Fleet({
  type: 'sim',
  roles: ['prefill', 'decode', 'decode', 'mixed'],
  engineArgs: ['--dialect', 'nixl', '--lease-ms', '2000', '--side-channel-timeout-ms', `${CONTACT_MS}`, '--costs', JSON.stringify(COSTS)],
  config: { deadlines: DEADLINES },
});
/** Begins every prompt of these tests. */
const MARK = 'Case';
const gates = new Map<Engine, Gate>();
let alone: Engine;

async function guard(engine: Engine): Promise<void> {
  const gate = new Gate(engine.url, MARK);
  gates.set(engine, gate);
  await fleet.relay(engine.id, await gate.listen());
}

const isReady = () => until('the router is ready', async () => (await fetch(`${fleet.routerUrl}/readyz`)).ok);

beforeAll(async () => {
  await fleet.start();
  alone = await fleet.setAside();
  for (const engine of fleet.engines) await guard(engine);
  await isReady();
});

afterAll(async () => {
  for (const gate of gates.values()) gate.close();
  await fleet.stop();
});

async function replace(engine: Engine): Promise<void> {
  const index = fleet.engines.indexOf(engine);
  gates.get(engine)?.close();
  gates.delete(engine);
  await fleet.replace(engine);
  await guard(fleet.engines[index] as Engine);
}

const hasEnded = ({ process }: Engine) => process.exitCode !== null || process.signalCode !== null;

afterEach(async () => {
  for (const gate of gates.values()) gate.events = {};
  await until('nothing is held any more', async () => Object.values(await fleet.leftovers()).every((held) => held === 0));
  for (const engine of fleet.engines) {
    if (hasEnded(engine)) await replace(engine);
    else await until(`${engine.id} keeps nothing`, async () => (await fleet.load(engine)).leases === 0);
  }
  for (const gate of gates.values()) gate.asked.length = 0;
  await isReady();
});

let cases = 0;
/** About so many tokens, never seen before. */
const promptOf = (tokens: number) => `${MARK} ${cases++}. ${'The water stands at the gate and waits. '.repeat(Math.ceil(tokens / 10))}`;

interface Said {
  readonly text: string;
  readonly done: boolean;
  readonly error: unknown;
}

const GREEDY = { temperature: 0, ignore_eos: true };

async function ask(url: string, body: object, path = '/v1/completions'): Promise<Said> {
  const headers = { 'content-type': 'application/json' };
  const asked = JSON.stringify({ model: MODEL, stream: true, ...GREEDY, ...body });
  const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: asked });
  const lines = (await response.text()).split('\n\n').filter((line) => line !== '');
  if (!response.ok) return { text: '', done: false, error: lines.join('') };
  const events = lines.filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)) as Event);
  const text = events.map(({ choices }) => choices?.[0]?.text ?? choices?.[0]?.delta?.content ?? '').join('');
  return { text, done: lines.at(-1) === 'data: [DONE]', error: events.find(({ error }) => error)?.error ?? null };
}

interface Event {
  readonly choices?: { readonly text?: string; readonly delta?: { readonly content?: string } }[];
  readonly error?: unknown;
}

const legs = (leg: Leg) => [...gates.values()].flatMap(({ asked }) => asked.filter((one) => one === leg));

/** Lets something happen to the first engine that gets to this point of such a leg; once. */
function strike(leg: Leg, point: keyof Events, what: (engine: Engine) => Promise<void> | void, pieces = 0): void {
  let done = false;
  for (const [engine, gate] of gates) {
    gate.events = {
      ...gate.events,
      [point]: (passing: Leg, passed = 0) => {
        if (done || passing !== leg || passed < pieces) return undefined;
        done = true;
        return what(engine);
      },
    };
  }
}

/** Asks the router and the one engine alone, and expects the same words. */
async function same(body: object): Promise<void> {
  const [said, right] = [await ask(fleet.routerUrl, body), await ask(alone.url, body)];
  expect(said).toEqual({ text: right.text, done: true, error: null });
  expect(right.text).not.toBe('');
}

describe('a pair says what one engine alone says', () => {
  it.each([1, 15, 16, 17, 300, 600, 1200])('for a prompt of about %i tokens', async (tokens) => {
    await same({ prompt: promptOf(tokens), max_tokens: 12 });
    await same({ prompt: promptOf(tokens), max_tokens: 12, temperature: 1, seed: tokens });
    if (tokens >= 300) expect(legs('prefill')).toHaveLength(2);
  });

  it('for chats, several choices and whole answers', async () => {
    const chat = { messages: [{ role: 'user', content: promptOf(600) }], max_tokens: 8 };
    const path = '/v1/chat/completions';
    expect(await ask(fleet.routerUrl, chat, path)).toEqual(await ask(alone.url, chat, path));
    const body = { model: MODEL, prompt: promptOf(600), max_tokens: 6, temperature: 1, seed: 3, n: 2 };
    const whole = async (url: string) => {
      const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
      return ((await (await fetch(`${url}/v1/completions`, init)).json()) as { choices: unknown }).choices;
    };
    expect(await whole(fleet.routerUrl)).toEqual(await whole(alone.url));
  });

  it('with a prefix that each of them knows in part', async () => {
    const prompt = promptOf(900);
    for (const part of [0.4, 1, 0.7]) await same({ prompt: prompt.slice(0, prompt.length * part), max_tokens: 6 });
  });
});

describe('the prefill instance is lost', () => {
  it.each<[string, Leg, keyof Events, boolean]>([
    ['before its leg', 'prefill', 'asked', true],
    ['during its leg', 'prefill', 'asked', false],
    ['after its leg', 'prefill', 'answered', true],
    ['while its blocks are pulled', 'decode', 'asked', true],
  ])('%s', async (_when, leg, point, waits) => {
    const [prefill] = fleet.of('prefill') as [Engine];
    strike(leg, point, async () => {
      const killed = waits ? fleet.kill(prefill) : until('it computes', async () => (await fleet.load(prefill)).running > 0);
      if (waits) await killed;
      else killed.then(() => fleet.kill(prefill)).catch(() => {});
    });
    // What is to be caught in the middle is long.
    await same({ prompt: promptOf(waits ? 600 : 2400), max_tokens: 20 });
    expect(hasEnded(prefill)).toBe(true);
    expect(legs('prefill').length).toBeGreaterThan(0);
  });

  it('for those who pull: it is there and does not answer', async () => {
    const [prefill] = fleet.of('prefill') as [Engine];
    await same({ prompt: promptOf(600), max_tokens: 4 });
    strike('decode', 'asked', () => void prefill.process.kill('SIGSTOP'));
    try {
      await same({ prompt: promptOf(600), max_tokens: 20 });
    } finally {
      prefill.process.kill('SIGCONT');
    }
  });
});

describe('the decode instance is lost', () => {
  it.each<[string, keyof Events, number]>([
    ['before its leg', 'asked', 0],
    ['when its head is out', 'answered', 0],
    ['after some words', 'passed', 4],
  ])('%s', async (_when, point, pieces) => {
    let struck: Engine | null = null;
    strike(
      'decode',
      point,
      async (engine) => {
        struck = engine;
        await fleet.kill(engine);
      },
      pieces,
    );
    await same({ prompt: promptOf(600), max_tokens: pieces === 0 ? 60 : 400 });
    expect(struck).not.toBeNull();
    expect(legs('decode').length).toBeGreaterThan(1);
  });

  it('drains: what it gives up is done elsewhere', async () => {
    const struck: Engine[] = [];
    strike('decode', 'asked', async (engine) => {
      struck.push(engine);
      await fetch(`${engine.url}/sluice/drain`, { method: 'POST' });
    });
    await same({ prompt: promptOf(600), max_tokens: 20 });
    expect(struck).toHaveLength(1);
    for (const engine of struck) await replace(engine);
  });

  it('has a dead core behind HTTP that is alive, then ends', async () => {
    let struck: Engine | null = null;
    strike('decode', 'asked', async (engine) => {
      struck = engine;
      const body = JSON.stringify({ model: MODEL, prompt: 'a', kv_transfer_params: { do_remote_prefill: true } });
      const headers = { 'content-type': 'application/json' };
      await fetch(`${engine.url}/v1/completions`, { method: 'POST', headers, body });
    });
    await same({ prompt: promptOf(600), max_tokens: 20 });
    await until('its process ended', async () => struck !== null && hasEnded(struck));
    expect(struck).toMatchObject({ process: { exitCode: 1 } });
  });
});

it('both restarted: new ones hand over to each other, old params are nowhere', async () => {
  await same({ prompt: promptOf(600), max_tokens: 6 });
  for (const engine of fleet.engines) await replace(engine);
  await isReady();
  await same({ prompt: promptOf(600), max_tokens: 6 });
  expect(legs('prefill')).toHaveLength(1);
  expect(legs('decode')).toHaveLength(1);
});

it('params of a client reach no engine', async () => {
  const deadly = { do_remote_prefill: true, do_remote_decode: false, remote_host: '127.0.0.1', remote_port: 9 };
  for (const tokens of [10, 600]) {
    const prompt = promptOf(tokens);
    const said = await ask(fleet.routerUrl, { prompt, max_tokens: 6, kv_transfer_params: deadly });
    expect(said).toEqual({ ...(await ask(alone.url, { prompt, max_tokens: 6 })), error: null });
  }
  for (const { url } of fleet.engines) expect((await fetch(`${url}/health`)).status).toBe(200);
});
