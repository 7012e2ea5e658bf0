/** The entry of every Sluice process: `sluice <command> …`. */
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { COMMANDS } from './commands.ts';
import { type Context, processContext } from './context.ts';
import { terminalOn } from './terminal.ts';

const USAGE_ERROR = 2;

async function main(argv: readonly string[], context: Context): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined) {
    context.stderr.write(`${overview(context)}\n`);
    return USAGE_ERROR;
  }
  if (name === '--help' || name === '-h' || name === 'help') return help(rest[0], context);
  if (name === '--version' || name === '-v' || name === 'version') {
    context.stdout.write(`sluice ${version(context)}\n`);
    return 0;
  }
  const command = COMMANDS.find((one) => one.name === name);
  return command ? command.run(rest, context) : unknownCommand(name, context);
}

function help(name: string | undefined, context: Context): Promise<number> | number {
  const command = COMMANDS.find((one) => one.name === name);
  if (command) return command.run(['--help'], context);
  if (name !== undefined) return unknownCommand(name, context);
  context.stdout.write(`${overview(context)}\n`);
  return 0;
}

async function unknownCommand(name: string, context: Context): Promise<number> {
  const { nearestName } = await import('../api/facts/index.ts');
  const names = [...COMMANDS.map((command) => command.name), 'version', 'help'];
  const near = nearestName(name, names);
  const hint = near === null ? `There is: ${names.join(', ')}.` : `Did you mean: sluice ${near}`;
  context.stderr.write(`sluice: there is no command "${name}".\n${hint}\n`);
  return USAGE_ERROR;
}

function overview(context: Context): string {
  const { paint } = terminalOn(context.stdout, context.env);
  const lines = (inner: boolean) =>
    COMMANDS.filter((command) => (command.inner ?? false) === inner).map((one) => `  ${paint.cyan(one.name.padEnd(10))}${one.summary}`);
  return [
    `${paint.bold('sluice')} runs separate prefill and decode pools of an LLM engine and moves KV blocks between them.`,
    '',
    `Usage: sluice <command> [flags]        ${paint.dim('sluice <command> --help tells more')}`,
    '',
    ...lines(false),
    `  ${paint.cyan('version'.padEnd(10))}print the version`,
    '',
    paint.dim('Single processes, as the commands above start them:'),
    ...lines(true),
    '',
    `New here? Run ${paint.bold('sluice start')}. It needs nothing: no GPU, no model download, no cluster.`,
  ].join('\n');
}

function version(context: Context): string {
  const manifest: unknown = JSON.parse(readFileSync(join(context.root, 'package.json'), 'utf8'));
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) return String(manifest.version);
  return 'unknown';
}

const context = processContext();
// Half of what a process needs until it does something is turning TypeScript into code: once per machine is enough. Where nothing can be
// written, as in a pod, it is done again each time.
enableCompileCache(context.compiledFolder);
process.exitCode = await main(process.argv.slice(2), context);
// An open channel to the process that started this one would keep it alive.
if (process.connected) process.disconnect();
