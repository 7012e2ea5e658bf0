/** Net, mount, pid and cgroup namespaces of a node, with one cable to this machine. */
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cgroupFolders } from './keeper.ts';

const run = promisify(execFile);
const KEEPER = fileURLToPath(new URL('keeper.ts', import.meta.url));
const MAX_OUTPUT_BYTES = 8_000_000;
const PATH = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin';

/** Addresses of one node, all in `10.N.0.0/16`; `N` is one that no interface of this machine has. */
export interface Addresses {
  readonly host: string;
  readonly node: string;
  readonly pods: string;
  readonly services: string;
  readonly dns: string;
}

export interface Namespaces {
  /** Of the cgroup, and of what else must have one. */
  readonly name: string;
  readonly folder: string;
  readonly addresses: Addresses;
  /** Command that runs the one behind it inside. */
  readonly enter: readonly string[];
  /** Process id of who keeps them. */
  readonly keeper: number;
  /** Runs a command inside and resolves to its output. */
  run(program: string, args: readonly string[]): Promise<string>;
  /** Kills everything inside, and resolves when nothing is left. Idempotent. */
  close(): Promise<void>;
}

export async function openNamespaces(): Promise<Namespaces> {
  const number = freeNumber();
  const name = `sluice-node-${number}`;
  const folder = mkdtempSync(join(tmpdir(), 'sluice-node-'));
  // A session of its own: Ctrl-C is for us, who let go then.
  const keeper = spawn(process.execPath, [KEEPER, name, folder], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  let words = '';
  keeper.stderr.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-2_000);
  });
  keeper.stdin.on('error', () => {});
  const ended = new Promise<number | null>((resolve) => keeper.on('exit', resolve));
  const close = async () => {
    keeper.stdin.end();
    if ((await ended) !== 0) throw new Error(`${name} was not taken away: ${words}`);
  };
  const first = await Promise.race([firstLine(keeper.stdout), ended.then(() => '')]);
  if (first === '') throw new Error(words.trim() || 'the keeper of the namespaces ended at once');
  const enter = ['nsenter', '--target', first, '--net', '--mount', '--pid', '--cgroup', '--', 'env', `PATH=${PATH}`];
  const inside = async (program: string, args: readonly string[]) => {
    const [command = '', ...rest] = [...enter, program, ...args];
    return (await run(command, rest, { maxBuffer: MAX_OUTPUT_BYTES })).stdout;
  };
  const addresses = addressesOf(number);
  try {
    await connect(first, `sluice${number}`, addresses, inside);
    for (const root of cgroupFolders(name)) mkdirSync(root, { recursive: true });
  } catch (error) {
    await close();
    throw error;
  }
  return { name, folder, addresses, enter, keeper: keeper.pid ?? 0, run: inside, close };
}

type Inside = (program: string, args: readonly string[]) => Promise<string>;

/** It goes with the namespaces, and its routes with it. */
async function connect(first: string, cable: string, { host, node, pods, services }: Addresses, inside: Inside): Promise<void> {
  const ip = (...args: readonly string[]) => run('ip', [...args], { env: { ...process.env, PATH } });
  await ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', first);
  await ip('addr', 'add', `${host}/30`, 'dev', cable);
  await ip('link', 'set', cable, 'up');
  await inside('ip', ['link', 'set', 'lo', 'up']);
  await inside('ip', ['addr', 'add', `${node}/30`, 'dev', 'eth0']);
  await inside('ip', ['link', 'set', 'eth0', 'up']);
  await inside('ip', ['route', 'add', 'default', 'via', host]);
  for (const range of [pods, services]) await ip('route', 'add', range, 'via', node);
  for (const setting of ['net/ipv4/ip_forward', 'net/ipv4/conf/all/route_localnet'])
    await inside('sh', ['-c', `echo 1 > /proc/sys/${setting}`]);
  // Else packets between pods of one bridge would pass no rule. Kernels without the setting do not let them by, or have no such bridge.
  await inside('sh', ['-c', 'f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 1 > $f']);
}

function addressesOf(number: number): Addresses {
  const at = (rest: string) => `10.${number}.${rest}`;
  return { host: at('0.1'), node: at('0.2'), pods: at('1.0/24'), services: at('2.0/24'), dns: at('2.10') };
}

const NUMBERS = { from: 100, count: 150 } as const;

/** A number that stays the same for one process, so that several that run at a time seldom meet. */
function freeNumber(): number {
  const taken = new Set(
    Object.values(networkInterfaces()).flatMap((all) => all?.map(({ address }) => address.split('.', 2).join('.')) ?? []),
  );
  for (let step = 0; step < NUMBERS.count; step += 1) {
    const number = NUMBERS.from + ((process.pid + step) % NUMBERS.count);
    if (!taken.has(`10.${number}`)) return number;
  }
  throw new Error('this machine has an address in every 10.N.0.0/16 that a node could have');
}

async function firstLine(stream: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: stream })) return line;
  return '';
}
