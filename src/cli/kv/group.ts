/** `sluice kv`: where KV is, and what moves it. A group of commands; each is a file of its own and loaded when it is run. */
import type { Context } from '../context.ts';

interface KvCommand {
  readonly name: string;
  /** After the name, in the help. */
  readonly words: string;
  readonly summary: string;
  run(argv: readonly string[], context: Context): Promise<number>;
}

const COMMANDS: readonly KvCommand[] = [
  {
    name: 'drain',
    words: '<instance>',
    summary: 'move the streams that an instance decodes to others',
    run: async (argv, context) => (await import('./drain.ts')).drainCommand(argv, context),
  },
];

function help(): string {
  const width = Math.max(...COMMANDS.map(({ name, words }) => `${name} ${words}`.length));
  const lines = COMMANDS.map(({ name, words, summary }) => `  ${`${name} ${words}`.padEnd(width)}  ${summary}`);
  return `Usage: sluice kv <command> [flags]\n\n${lines.join('\n')}\n\nsluice kv <command> --help tells more of each. All take --json.\n`;
}

export async function kvCommand(argv: readonly string[], context: Context): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h') {
    context.stdout.write(help());
    return 0;
  }
  const command = COMMANDS.find((one) => one.name === name);
  if (command) return command.run(rest, context);
  context.stderr.write(`sluice kv: there is no command "${name}"; there is: ${COMMANDS.map((one) => one.name).join(', ')}\n`);
  return 2;
}
