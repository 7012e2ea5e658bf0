/** `sluice engine`: one engine process. */
import { createEngineServer, createSimEngine, type EngineCore, type EngineServer, nixlDialect } from '../engines/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import { createLogger, type Logger } from '../telemetry/index.ts';
import { type Context, processContext } from './context.ts';
import { drained } from './drained.ts';
import { ENGINE_HELP, type EngineFlags, readEngineFlags } from './engineflags.ts';
import { type EndReason, untilEnded } from './lifetime.ts';
import { weightsOf } from './weights.ts';

const USAGE_ERROR = 2;
const FAILED = 1;
/** How long a vLLM whose core is dead still answers, before it ends. */
const DEATH_MS = 1_000;

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
  const { vllm } = flags;
  const context = processContext();
  if (vllm !== null) {
    // Loaded only here: its room brings a native library for sockets.
    const { serveVllm } = await import('./enginevllm.ts');
    await serveVllm({ flags: { ...flags, vllm }, context, logger, ended });
    return 0;
  }
  const dead = Promise.withResolvers<'dead'>();
  const { core, server } = await create({ flags, logger, context }, () => systemClock.after(DEATH_MS, () => dead.resolve('dead')));
  try {
    const { url } = await server.listen(flags.host, flags.port);
    announce(core, url, logger);
    const reason = await Promise.race([ended, dead.promise]);
    if (reason === 'dead') throw new SluiceError('engine_failed', 'the core is dead: it was given kv_transfer_params that do not fit');
    if (reason === 'signal') await drained(core, { drainMs: flags.drainMs, logger, clock: systemClock });
    return 0;
  } finally {
    await stop(core, server);
  }
}

interface Created {
  readonly core: EngineCore;
  readonly server: EngineServer;
}

interface Creation {
  readonly flags: EngineFlags;
  readonly logger: Logger;
  readonly context: Context;
}

/** @param onDeath called when a simulated vLLM's core is dead */
async function create({ flags, logger, context }: Creation, onDeath: () => void): Promise<Created> {
  const { type, modelPath, costs, vllm: _vllm, ...options } = flags;
  const common = { logger, clock: systemClock };
  if (type === 'sim') {
    const core = await createSimEngine({ ...options, costs, clock: systemClock, onDeath });
    const dialect = flags.dialect === 'nixl' ? { dialect: nixlDialect(core, systemClock) } : {};
    return { core, server: createEngineServer({ core, ...common, ...dialect }) };
  }
  const { createLlamaCppEngine } = await import('../engines/llamacpp/index.ts');
  const core = await createLlamaCppEngine({
    ...options,
    modelPath: await weightsOf(modelPath ?? '', 'llamacpp', context.cacheFolder),
    clock: systemClock,
    onWarning: (message) => logger.warn(message),
  });
  return { core, server: createEngineServer({ core, ...common }) };
}

function announce(core: EngineCore, url: string, logger: Logger): void {
  const { instance, incarnation, role, engine, simulated, model, transfer } = core.info;
  logger.info({ url, engine, simulated, role, model, transfer: `${transfer.host}:${transfer.port}` }, `${instance} listens`);
  process.send?.({ type: 'listening', url, transfer: { host: transfer.host, port: transfer.port }, incarnation });
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
