/** The contract that the simulated vLLM is held to (`test/contract/vllm-sim.test.ts`), held by a pair of real ones. */
import { type ChildProcess, fork } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureTinyModelFolder } from '../../src/engines/vllm/model/index.ts';
import type { VllmPair } from '../contract/vllm-bed.ts';
import { vllmContract } from '../contract/vllm-contract.ts';
import { isAlive } from '../integration/up-process.ts';
import { freePort } from '../ports.ts';
import { everythingUnder, killNow, until } from './running.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const START_MS = 400_000;
const LEASE_MS = 5_000;
/** What vLLM waits for a side channel that does not answer. */
const CONTACT_MS = 5_000;
const GONE_MS = 10_000;

interface Started {
  readonly url: string;
  readonly agent: ChildProcess;
}

async function start(role: 'prefill' | 'decode'): Promise<Started> {
  const model = ensureTinyModelFolder(join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'sluice'));
  const flags = {
    type: 'vllm',
    role,
    instance: `${role}-0`,
    'model-name': 'tiny',
    model,
    dtype: 'float32',
    context: 4_096,
    sequences: 16,
    'block-tokens': 32,
    'lease-ms': LEASE_MS,
  };
  const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  const agent = fork(MAIN, ['engine', ...words], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const hello = await new Promise<{ url: string }>((resolve, reject) => {
    agent.on('message', (message: { type?: string; url?: string }) => {
      if (message.type === 'listening' && message.url !== undefined) resolve({ url: message.url });
    });
    agent.once('exit', (code) => reject(new Error(`the agent of ${role}-0 ended with ${code}`)));
  });
  const end = performance.now() + START_MS;
  for (;;) {
    const info = await fetch(`${hello.url}/sluice/info`);
    if (info.ok) return { agent, url: ((await info.json()) as { requestUrl: string }).requestUrl };
    if (performance.now() > end) throw new Error(`${role}-0 is not ready within ${START_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function kill({ agent }: Started): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return;
  const gone = new Promise((resolve) => agent.once('exit', resolve));
  const tree = everythingUnder(agent.pid ?? 0);
  tree.forEach(killNow);
  await gone;
  // The engine holds its side channel until its own process is gone: only then is a pull from it refused at once.
  await until('every process of it is gone', GONE_MS, () => !tree.some(isAlive));
}

vllmContract(
  'real',
  async (): Promise<VllmPair> => {
    const [prefill, decode] = await Promise.all([start('prefill'), start('decode')]);
    return {
      prefillUrl: prefill.url,
      decodeUrl: decode.url,
      deadPort: await freePort(),
      contactMs: CONTACT_MS,
      leaseMs: LEASE_MS,
      killPrefill: () => kill(prefill),
      close: async () => {
        await Promise.all([kill(prefill), kill(decode)]);
      },
    };
  },
  START_MS,
);
