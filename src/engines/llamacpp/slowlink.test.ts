/** A hand-off over a link of 1 MB/s: what does not come in time is computed, and the tokens are the same. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../shared/index.ts';
import type { EngineCore, EngineRequest, HandOffTicket, PromptReport, Role } from '../port.ts';
import { createLlamaCppEngine } from './engine.ts';
import { uniformAt } from './sampling.ts';
import { ensureTinyModel } from './tinymodel.ts';

const BYTES_PER_SECOND = 1e6;
let folder: string;
let engines: Record<'alone' | 'prefill' | 'decode', EngineCore>;
let relay: Relay;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-slow-'));
  const modelPath = ensureTinyModel(folder);
  const engine = (instance: string, role: Role) =>
    createLlamaCppEngine({
      instance,
      role,
      modelName: 'tiny',
      modelPath,
      host: '127.0.0.1',
      contextTokens: 2048,
      maxSequences: 2,
      blockTokens: 16,
      hbmBytes: 2 * 2048 * 1024,
      hostBytes: 16 * 2 ** 20,
      leaseMs: 2_000,
      clock: systemClock,
      onWarning: () => undefined,
    });
  engines = { alone: await engine('a', 'mixed'), prefill: await engine('p', 'prefill'), decode: await engine('d', 'decode') };
  relay = await slowRelay(engines.prefill.info.transfer.port);
}, 120_000);
afterAll(async () => {
  relay.close();
  await Promise.all(Object.values(engines).map((core) => core.close()));
  rmSync(folder, { recursive: true, force: true });
});

interface Relay {
  readonly port: number;
  readonly close: () => void;
}

/** Passes bytes on, those from the server at 1 MB/s. */
async function slowRelay(port: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = connect({ host: '127.0.0.1', port });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
    client.on('data', (data) => upstream.write(data));
    upstream.on('data', (data) => {
      upstream.pause();
      setTimeout(
        () => {
          client.write(data);
          upstream.resume();
        },
        (data.length / BYTES_PER_SECOND) * 1000,
      );
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const bound = address !== null && typeof address === 'object' ? address.port : 0;
  const close = () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { port: bound, close };
}

const PROMPT = Int32Array.from({ length: 1_000 }, (_, at) => Math.floor(uniformAt(9, at) * 320));

function request(change: Partial<EngineRequest> = {}): EngineRequest {
  const sampling = { temperature: 0.8, topP: 1, seed: 5, maxTokens: 24, ignoreEos: true, logprobs: null };
  return { id: 'r', prompt: PROMPT, resumed: new Int32Array(0), sampling, salt: '', ticket: null, pullDeadlineMs: 5_000, ...change };
}

function generate(core: EngineCore, of: EngineRequest): Promise<{ tokens: number[]; report: PromptReport }> {
  return new Promise((resolve, reject) => {
    const tokens: number[] = [];
    let report: PromptReport | undefined;
    core.generate(of, {
      start: (given) => {
        report = given;
      },
      token: (token) => tokens.push(token),
      end: () => resolve({ tokens, report: report as PromptReport }),
      error: reject,
    });
  });
}

it('is given up at the deadline; what came is used, the rest computed, and no lease is left', async () => {
  const expected = await generate(engines.alone, request());
  const ticket = await new Promise<HandOffTicket>((resolve, reject) =>
    engines.prefill.prefill(request(), { done: resolve, error: reject }),
  );
  expect(ticket.blocks).toBe(62);
  const slow = { ...ticket, port: relay.port };
  const { tokens, report } = await generate(engines.decode, request({ ticket: slow, pullDeadlineMs: 400 }));
  expect(tokens).toEqual(expected.tokens);
  expect(report.handOff?.failed).toMatch(/of 62 blocks/);
  expect(report.reused.peer).toBe((report.handOff?.blocks ?? 0) * 16);
  expect(report.reused.peer).toBeLessThan(62 * 16);
  expect(report.reused.peer + report.computed).toBe(1_000);
  await expect.poll(() => engines.prefill.load().leases, { timeout: 10_000 }).toBe(0);
});
