import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { freePort } from '../ports.ts';
import type { VllmPair } from './vllm-bed.ts';
import { vllmContract } from './vllm-contract.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
// The checks take parts of them for at once, on a busy machine too.
const CONTACT_MS = 4_000;
const LEASE_MS = 6_000;
const SHAPE = [
  '--context',
  '4096',
  '--block-tokens',
  '32',
  '--lease-ms',
  String(LEASE_MS),
  '--side-channel-timeout-ms',
  String(CONTACT_MS),
];

interface Started {
  readonly url: string;
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly said: string }>;
}

function startSim(role: 'prefill' | 'decode'): Promise<Started> {
  const args = [
    'engine',
    '--type',
    'sim',
    '--dialect',
    'nixl',
    '--role',
    role,
    '--instance',
    `${role}-0`,
    '--model-name',
    'tiny',
    ...SHAPE,
  ];
  const child = fork(MAIN, args, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  const ended = new Promise<{ code: number | null; said: string }>((resolve) => child.once('exit', (code) => resolve({ code, said })));
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve({ child, ended, url: (message as { url: string }).url }));
    void ended.then((end) => reject(new Error(`the engine ended with ${end.code}: ${end.said}`)));
  });
}

let decode: Started | null = null;

async function startPair(): Promise<VllmPair> {
  const [prefill, other] = await Promise.all([startSim('prefill'), startSim('decode')]);
  decode = other;
  const kill = async ({ child, ended }: Started) => {
    child.kill('SIGKILL');
    await ended;
  };
  const serves = ({ url }: Started) =>
    fetch(`${url}/health`).then(
      () => true,
      () => false,
    );
  return {
    prefillUrl: prefill.url,
    decodeUrl: other.url,
    deadPort: await freePort(),
    contactMs: CONTACT_MS,
    leaseMs: LEASE_MS,
    killPrefill: () => kill(prefill),
    close: async () => {
      await kill(prefill);
      // One that is ending by itself is let, to see how it does.
      await ((await serves(other)) ? kill(other) : other.ended);
    },
  };
}

vllmContract('sim', startPair);

it('the process of a dead core ends with an error that says why', async () => {
  expect(await decode?.ended).toMatchObject({ code: 1, said: expect.stringContaining('kv_transfer_params that do not fit') });
});

afterAll(() => decode?.child.kill('SIGKILL'));
