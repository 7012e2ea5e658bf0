/** A real NATS server with JetStream, in a folder of its own, ended by process id. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningProgram, startProgram } from '../cluster/program.ts';
import { freePort } from '../ports.ts';
import { requireServer } from './programs.ts';
import { until } from './redis.ts';

export interface NatsServer {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** SIGSTOP and SIGCONT. */
  readonly signal: (signal: NodeJS.Signals) => void;
  /** SIGKILL; the streams, which are in memory, are lost. */
  readonly kill: () => Promise<void>;
  /** The same address again, empty. */
  readonly restart: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

export interface NatsServerOptions {
  /** Default true. */
  readonly jetStream?: boolean;
  /** Lines for the configuration: users, TLS, limits. */
  readonly conf?: readonly string[];
}

export async function startNats({ jetStream = true, conf = [] }: NatsServerOptions = {}): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-nats-'));
  const port = await freePort();
  const file = join(folder, 'nats.conf');
  const store = join(folder, 'jetstream');
  const streams = jetStream && !conf.some((line) => line.startsWith('jetstream')) ? [`jetstream { store_dir: "${store}" }`] : [];
  writeFileSync(file, ['host: "127.0.0.1"', `port: ${port}`, ...streams, ...conf, ''].join('\n'));
  const start = () => startProgram(requireServer('nats-server'), ['-c', file], join(folder, 'log'));
  let program: RunningProgram = start();
  const up = async () => {
    try {
      await until('nats-server answers', async () => program.running && (await greets(port)));
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}: ${program.lastWords()}`);
    }
  };
  const stop = async () => {
    await program.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await up();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    url: `nats://127.0.0.1:${port}`,
    get pid() {
      return program.pid;
    },
    signal: (signal) => program.signal(signal),
    kill: () => program.kill(),
    async restart() {
      await program.kill();
      rmSync(store, { recursive: true, force: true });
      program = start();
      await up();
    },
    stop,
  };
}

/** A server says what it is to whoever connects. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1');
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => end(false));
    socket.on('error', () => end(false));
    socket.on('data', () => end(true));
  });
}
