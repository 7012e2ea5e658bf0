/** `sluice kv`: where KV is, what it costs, and what moves it. A group of commands; each is a file of its own and loaded when it is run. */
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
    name: 'stat',
    words: '',
    summary: 'bytes per tier and instance, and where the tokens of prompts came from',
    run: async (argv, context) => (await import('./stat.ts')).statCommand(argv, context),
  },
  {
    name: 'ls',
    words: '[instance]',
    summary: 'blocks per tier; of one instance also their keys',
    run: async (argv, context) => (await import('./ls.ts')).lsCommand(argv, context),
  },
  {
    name: 'where',
    words: '<key or request>',
    summary: 'which instances hold a block, or the prompt of a request, and in which tier',
    run: async (argv, context) => (await import('./where.ts')).whereCommand(argv, context),
  },
  {
    name: 'verify',
    words: '[instance]',
    summary: 'compare the checksums of all that is held in host memory and in the store',
    run: async (argv, context) => (await import('./verify.ts')).verifyCommand(argv, context),
  },
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
  return `Usage: sluice kv <command> [flags]

KV is what a model keeps of the tokens that it has read. It is kept in blocks, which are in HBM (the engine's own memory), in the host
memory of an instance, or in the store below it (kv.store: a folder or Redis).

${lines.join('\n')}

sluice kv <command> --help tells more of each. All take --json.
`;
}

export async function kvCommand(argv: readonly string[], context: Context): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h') {
    context.stdout.write(help());
    return 0;
  }
  const command = COMMANDS.find((one) => one.name === name);
  if (command) return command.run(rest, context);
  context.stderr.write(
    `sluice kv: there is no "${name}"; there is ${COMMANDS.map((one) => one.name).join(', ')}. sluice kv --help tells more.\n`,
  );
  return 2;
}
