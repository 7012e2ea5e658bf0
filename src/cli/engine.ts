/** `sluice engine`: one engine process. */
import { SluiceError } from '../shared/index.ts';
import { processContext } from './context.ts';
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
  // Before anything slow, so that a parent that died meanwhile and an early SIGTERM are seen.
  const ended = untilEnded();
  try {
    await serve(flags, ended.reason);
    return 0;
  } catch (thrown) {
    process.stderr.write(`sluice engine: ${explain(thrown, flags)}\n`);
    return FAILED;
  } finally {
    ended.stop();
  }
}

/** What is loaded is what this engine needs: a vLLM is to load its model already while the rest of its agent is loaded. */
async function serve(flags: EngineFlags, ended: Promise<EndReason>): Promise<void> {
  const { vllm, sglang } = flags;
  const context = processContext();
  if (vllm !== null) {
    const { serveVllm } = await import('./enginevllm.ts');
    await serveVllm({ flags: { ...flags, vllm }, context, ended });
    return;
  }
  if (sglang !== null) {
    const { serveSglang } = await import('./enginesglang.ts');
    await serveSglang({ flags: { ...flags, sglang }, context, ended });
    return;
  }
  const { serveEngine } = await import('./engineserver.ts');
  await serveEngine({ flags, context, ended });
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
