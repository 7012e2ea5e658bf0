/** `sluice engine`: one engine process. */
import { createEngineServer, createSimEngine, type EngineCore, type EngineServer, vllmDialect } from '../engines/index.ts';
import { SluiceError, sleep, systemClock } from '../shared/index.ts';
import { createLogger, type Logger } from '../telemetry/index.ts';
import { ENGINE_HELP, type EngineFlags, readEngineFlags } from './engineflags.ts';
import { type EndReason, untilEnded } from './lifetime.ts';

const USAGE_ERROR = 2;
const FAILED = 1;

/** Runs until a signal or the end of the parent process. @returns the exit code */
export async function engineCommand(argv: string[]): Promise<number> {
  const read = readEngineFlags(argv);
  if (read.kind === 'help') {
    process.stdout.write(ENGINE_HELP);
    return 0;
  }
  if (read.kind === 'wrong') {
    process.stderr.write(`sluice engine: ${read.message}\nsluice engine --help tells what there is.\n`);
    return USAGE_ERROR;
  }
  const { flags } = read;
  const logger = createLogger({ name: flags.instance, level: 'info', format: process.stderr.isTTY ? 'pretty' : 'json' });
  // Before anything slow, so that a parent that died meanwhile and an early SIGTERM are seen.
  const ended = untilEnded();
  try {
    return await serve(flags, logger, ended.reason);
  } catch (thrown) {
    process.stderr.write(`sluice engine: ${explain(thrown, flags)}\n`);
    return FAILED;
  } finally {
    ended.stop();
  }
}

async function serve(flags: EngineFlags, logger: Logger, ended: Promise<EndReason>): Promise<number> {
  const core = await createCore(flags, logger);
  const server = createEngineServer({
    core,
    logger,
    clock: systemClock,
    ...(core.info.simulated ? { dialect: vllmDialect(core.info) } : {}),
  });
  try {
    const { url } = await server.listen(flags.host, flags.port);
    announce(core, url, logger);
    if ((await ended) === 'signal') await drain(core, flags, logger);
    return 0;
  } finally {
    await stop(core, server);
  }
}

async function createCore(flags: EngineFlags, logger: Logger): Promise<EngineCore> {
  const { type, modelPath, costs, ...options } = flags;
  if (type === 'sim') return createSimEngine({ ...options, costs, clock: systemClock });
  const { createLlamaCppEngine } = await import('../engines/llamacpp/index.ts');
  return createLlamaCppEngine({
    ...options,
    modelPath: modelPath ?? '',
    clock: systemClock,
    onWarning: (message) => logger.warn(message),
  });
}

function announce(core: EngineCore, url: string, logger: Logger): void {
  const { instance, incarnation, role, engine, simulated, model, transfer } = core.info;
  logger.info({ url, engine, simulated, role, model, transfer: `${transfer.host}:${transfer.port}` }, `${instance} listens`);
  process.send?.({ type: 'listening', url, transfer: { host: transfer.host, port: transfer.port }, incarnation });
}

async function drain(core: EngineCore, flags: EngineFlags, logger: Logger): Promise<void> {
  logger.info({ drainMs: flags.drainMs }, 'drains');
  const gaveUp = new AbortController();
  const drained = core.drain().then(() => gaveUp.abort());
  await Promise.race([drained, sleep(systemClock, flags.drainMs, gaveUp.signal)]);
  if (gaveUp.signal.aborted) return;
  const { running, waiting, leases } = core.load();
  logger.warn({ running, waiting, leases }, 'the drain deadline passed; what still runs is ended');
}

async function stop(core: EngineCore, server: EngineServer): Promise<void> {
  await core.close();
  await server.close();
}

function explain(thrown: unknown, flags: EngineFlags): string {
  if (thrown instanceof SluiceError || thrown instanceof RangeError) return thrown.message;
  if (!(thrown instanceof Error)) return String(thrown);
  const code = 'code' in thrown ? thrown.code : null;
  const address = `${flags.host}:${flags.port}`;
  if (code === 'EADDRINUSE')
    return `--port ${flags.port}: something else listens on ${address}; choose another port, or 0 for any free one`;
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') return `--host ${flags.host}: this machine has no such address`;
  if (code === 'EACCES') return `--port ${flags.port}: not allowed to listen on ${address}`;
  return thrown.message;
}
