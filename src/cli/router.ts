/** `sluice router`: one router process. */
import { randomBytes } from 'node:crypto';
import { loadTokenizer } from '../engines/tokenizers/index.ts';
import { type RunningRouter, startRouter } from '../router/index.ts';
import { systemClock } from '../shared/index.ts';
import { createLogger } from '../telemetry/index.ts';
import type { KvServers, KvSettings } from './kvservers.ts';
import { type EndReason, untilEnded } from './lifetime.ts';
import { ROUTER_HELP, type RouterFlags, readRouterFlags } from './routerflags.ts';

const USAGE_ERROR = 2;
const FAILED = 1;

/** Runs until a signal or the end of the parent process. @returns the exit code */
export async function routerCommand(argv: string[]): Promise<number> {
  const read = readRouterFlags(argv);
  if (read.kind === 'help') {
    process.stdout.write(ROUTER_HELP);
    return 0;
  }
  if (read.kind === 'wrong') {
    process.stderr.write(`sluice router: ${read.message}\nsluice router --help tells what there is.\n`);
    return USAGE_ERROR;
  }
  // Before anything slow, so that a parent that died meanwhile and an early SIGTERM are seen.
  const ended = untilEnded();
  try {
    return await serve(read.flags, ended.reason);
  } catch (thrown) {
    process.stderr.write(`sluice router: ${explain(thrown, read.flags)}\n`);
    return FAILED;
  } finally {
    ended.stop();
  }
}

async function serve({ model, config, listen, graceMs, kv: settings }: RouterFlags, ended: Promise<EndReason>): Promise<number> {
  const log = createLogger({ name: 'router', level: 'info', format: process.stderr.isTTY ? 'pretty' : 'json' });
  const onReady = () => {
    if (process.connected) process.send?.({ type: 'ready' });
  };
  const kv = settings === null ? null : await openServers(settings);
  const shared = kv === null ? {} : { kv };
  const options = { ...shared, model, config, log, loadTokenizer, clock: systemClock, newId: requestIds(), random: Math.random, onReady };
  try {
    const router = await startRouter(options, listen);
    announce(router);
    log.info({ url: router.url, adminUrl: router.adminUrl, model }, 'listens');
    const reason = await ended;
    log.info({ reason, graceMs }, 'stops');
    // Without the process that told it of instances and waits for its end there is nobody to be graceful for.
    await router.stop(reason === 'signal' ? graceMs : 0);
    return 0;
  } finally {
    // A process with connections does not end.
    await kv?.close();
  }
}

/** What talks to servers is loaded only where there are some. */
async function openServers(settings: KvSettings): Promise<KvServers> {
  const { openKvServers } = await import('./kvservers.ts');
  return openKvServers(settings, process.env);
}

function announce({ url, adminUrl }: RunningRouter): void {
  process.send?.({ type: 'listening', url, adminUrl });
}

/** Ids that no other process gives out: drawing randomness for every request would cost more than placing it. */
function requestIds(): () => string {
  const prefix = randomBytes(8).toString('hex');
  let count = 0;
  return () => `${prefix}-${(count++).toString(36)}`;
}

function explain(thrown: unknown, { listen }: RouterFlags): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = 'code' in thrown ? thrown.code : null;
  const port = 'port' in thrown ? Number(thrown.port) : listen.port;
  const [kind, host] = port === listen.port ? ['', listen.host] : ['admin-', listen.adminHost];
  const flag = `--${kind}port`;
  if (code === 'EADDRINUSE') return `${flag} ${port}: something else listens there; choose another port, or 0 for any free one`;
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return `--${kind}host ${host}: this machine has no such address`;
  if (code === 'EACCES') return `${flag} ${port}: not allowed to listen on ${host}:${port}`;
  return thrown.message;
}
