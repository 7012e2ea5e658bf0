import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FREE_COSTS } from '../../api/facts/index.ts';
import { systemClock } from '../../shared/index.ts';
import type { EngineCosts, EngineLoad } from '../port.ts';
import { createVllmAgent } from '../vllm/agent.ts';
import type { EngineAgent } from './agent.ts';
import { type FakeMode, isAlive, writeFakeVllm, writeModelFiles } from './fakevllm.fixture.ts';
import { pickPorts } from './ports.ts';
import type { ViewOptions } from './view.ts';

// Starting a process takes seconds on a machine that has other things to do.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const POLL = { timeout: 20_000, interval: 20 };

let folder: string;
let agent: EngineAgent;
let url: string;
let opened: ViewOptions | null;
let told: EngineCosts | null;
let readings = 0;
const lines: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vllm-test-'));
  writeModelFiles(folder);
  lines.length = 0;
  opened = null;
  told = null;
});

afterEach(async () => {
  await agent.close(1_000);
  expect(coreIsAlive()).toBe(false);
  rmSync(folder, { recursive: true });
});

/** A load with as many running requests as the fake's metrics page says. */
function loadOf(page: string, draining: boolean): EngineLoad {
  const room = { usedBytes: 0, cachedBytes: 0, capacityBytes: 0 };
  const running = Number(/running (\d+)/.exec(page)?.[1] ?? 0);
  return {
    running,
    waiting: 0,
    pendingPrefillTokens: 0,
    contextTokens: 0,
    kv: { hbm: room, host: room },
    leases: 0,
    draining,
    costs: FREE_COSTS,
  };
}

async function create(mode: FakeMode, startMs = 60_000): Promise<EngineAgent> {
  let page = '';
  agent = createVllmAgent({
    spec: {
      role: 'prefill',
      model: folder,
      revision: null,
      modelName: 'tiny',
      dtype: 'float32',
      tensorParallel: 1,
      contextTokens: 4096,
      maxSequences: 16,
      blockTokens: 32,
      hbmBytes: 1 << 20,
      leaseMs: 30_000,
      extra: [],
    },
    instance: 'prefill-0',
    host: '127.0.0.1',
    port: 0,
    ports: await pickPorts('127.0.0.1'),
    device: { kind: 'cpu', cores: [0] },
    executable: writeFakeVllm(folder),
    env: { ...process.env, FAKE_VLLM: mode },
    startMs,
    clock: systemClock,
    openView: (options) => {
      opened = options;
      return Promise.resolve({
        withCosts: (costs) => {
          told = costs;
          return {
            snapshot: () => ({ incarnation: options.info.incarnation, seq: 0, tiers: {} }),
            onEvent: () => () => undefined,
            scraped: (text) => {
              page = text;
              readings += 1;
            },
            load: (draining) => loadOf(page, draining),
          };
        },
        close: () => Promise.resolve(),
      });
    },
    onLine: (line) => lines.push(line),
    warn: (text) => lines.push(text),
    onProgress: () => undefined,
  });
  url = await agent.listen();
  return agent;
}

function coreIsAlive(): boolean {
  const pid = Number(/ core (\d+)/.exec(lines.join('\n'))?.[1]);
  return pid > 0 && isAlive(pid);
}

const statusOf = async (path: string, method = 'GET') => (await fetch(`${url}${path}`, { method })).status;
const tellFake = (path: string) => fetch(`${agent.info?.requestUrl}${path}`);

describe('EngineAgent', () => {
  it('says that it is not ready until it is, and then what it is', async () => {
    const start = (await create('slow')).start();
    expect([await statusOf('/health'), await statusOf('/sluice/info'), await statusOf('/sluice/events')]).toEqual([503, 503, 503]);
    expect(await statusOf('/sluice/empty', 'POST')).toBe(503);
    await start;
    expect(await statusOf('/health')).toBe(200);
    const info = await (await fetch(`${url}/sluice/info`)).json();
    expect(info).toEqual(agent.info);
    expect(info).toMatchObject({
      instance: 'prefill-0',
      engine: 'vllm',
      dialect: 'nixl',
      requestUrl: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      identity: { dtype: 'float32', layout: 'vllm/0.32.0+fake', blockTokens: 32 },
      // 4 layers, K and V, 2 heads of 64, 4 bytes, 32 tokens.
      bytesPerBlock: 131_072,
      tokenizer: { kind: 'huggingface', path: folder },
      leaseMs: 30_000,
    });
    expect(opened?.info).toEqual(agent.info);
    expect(told?.prefillPerToken).toBeGreaterThan(0);
    expect(await statusOf('/metrics')).toBe(200);
    expect(await statusOf('/v1/completions', 'POST')).toBe(404);
  });

  it('tells its events and load, that it drains, and that it is to be emptied', async () => {
    await (await create('well')).start();
    const feed = await fetch(`${url}/sluice/events`);
    const reader = feed.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    const until = async (words: string) => {
      while (!text.includes(words)) text += (await reader?.read())?.value ?? '';
    };
    await until('"draining":false');
    expect(text.split('\n')[0]).toBe(`{"type":"snapshot","incarnation":"${agent.incarnation}","seq":0,"tiers":{}}`);
    expect(await statusOf('/sluice/drain', 'POST')).toBe(202);
    await until('"draining":true');
    expect(await statusOf('/sluice/empty', 'POST')).toBe(200);
    await until('"emptied":true');
    text = '';
    expect(await statusOf('/sluice/refill', 'POST')).toBe(200);
    await until('"emptied":false');
    await reader?.cancel();
  });

  it('says how long vLLM has not answered, and goes on telling', async () => {
    await (await create('well')).start();
    await expect.poll(() => agent.load()?.quietMs, POLL).toBeLessThan(500);
    const vllm = Number(/APIServer pid=(\d+)/.exec(lines.join('\n'))?.[1]);
    process.kill(vllm, 'SIGSTOP');
    try {
      await expect.poll(() => agent.load()?.quietMs, POLL).toBeGreaterThan(1_000);
      const feed = await fetch(`${url}/sluice/events`);
      const told = (await feed.body?.pipeThrough(new TextDecoderStream()).getReader().read())?.value;
      expect(Number(/"quietMs":(\d+)/.exec(told ?? '')?.[1])).toBeGreaterThan(1_000);
    } finally {
      process.kill(vllm, 'SIGCONT');
    }
    await expect.poll(() => agent.load()?.quietMs, POLL).toBeLessThan(500);
  });

  it('drains until nothing runs', async () => {
    await (await create('well')).start();
    await tellFake('/fake/run');
    await expect.poll(() => agent.load()?.running, POLL).toBe(1);
    const order: string[] = [];
    const drained = agent.drain().then(() => order.push('drained'));
    const before = readings;
    // Longer than the time that it gives the router.
    await expect.poll(() => readings - before, POLL).toBeGreaterThan(4);
    expect(agent.load()?.draining).toBe(true);
    order.push('rest');
    await tellFake('/fake/rest');
    await drained;
    expect(order).toEqual(['rest', 'drained']);
  });

  it('ends with a dead engine core, though its server still answers', async () => {
    await (await create('well')).start();
    const startedAt = performance.now();
    await tellFake('/fake/core-dies');
    expect(await agent.ended).toMatch(/^vLLM's engine core is dead: \/health answers 503; vLLM ended \(/);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    expect([await statusOf('/health'), await statusOf('/sluice/info')]).toEqual([503, 503]);
  });

  it('says why vLLM did not start', async () => {
    await (await create('dies')).start();
    expect(await agent.ended).toBe('vLLM ended (exit code 1): ValueError: no room for 5 GiB of KV');
  });

  it('gives up a start that waits for ever for a thread that failed', async () => {
    await (await create('deaf')).start();
    expect(await agent.ended).toMatch(
      /^vLLM cannot start: its thread nixl_handshake_listener failed; vLLM ended \(.*\): zmq.error.ZMQError: Address already in use$/,
    );
  });

  it('gives up a start that does not come to an end', async () => {
    await create('never', 300);
    await expect(agent.start()).rejects.toThrow('vLLM was not ready within 0 s: give it longer with --start-ms');
    await agent.ended;
  });

  it('does not serve with a vLLM whose first requests fail', async () => {
    await create('broken');
    await expect(agent.start()).rejects.toThrow(/^vLLM serves, but its first requests were answered with 500/);
    await agent.ended;
  });

  it('ends before vLLM was ready', async () => {
    const start = (await create('never')).start();
    await agent.close(1_000);
    await start;
  });
});
