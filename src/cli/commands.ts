/** The commands of `sluice`. Each is loaded only when it is run: a help text must not wait for an engine library. */
import type { Context } from './context.ts';

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** Not listed first: processes that other commands start. */
  readonly inner?: boolean;
  /** Resolves with the exit code. */
  run(argv: readonly string[], context: Context): Promise<number>;
}

export const COMMANDS: readonly Command[] = [
  {
    name: 'start',
    summary: 'try it: start a prefill and a decode pool here and send requests through',
    run: async (argv, context) => (await import('./start.ts')).startCommand(argv, context),
  },
  {
    name: 'up',
    summary: 'run the ServingDeployments of a file on this machine and follow its edits',
    run: async (argv, context) => (await import('./up.ts')).upCommand(argv, context),
  },
  {
    name: 'explain',
    summary: 'why a request went where it went, with every term in milliseconds',
    run: async (argv, context) => (await import('./explain.ts')).explainCommand(argv, context),
  },
  {
    name: 'top',
    summary: 'live table of instances, queues, KV use and latencies',
    run: async (argv, context) => (await import('./top.ts')).topCommand(argv, context),
  },
  {
    name: 'kv',
    summary: 'where KV is: bytes per tier, blocks, who holds what, whether it is whole; move running streams',
    run: async (argv, context) => (await import('./kv/group.ts')).kvCommand(argv, context),
  },
  {
    name: 'operator',
    summary: 'look after the ServingDeployments of a Kubernetes cluster',
    run: async (argv, context) => (await import('./operator.ts')).operatorCommand(argv, context),
  },
  {
    name: 'rollout',
    summary: 'status, diff, undo, pause and resume of a roll on Kubernetes',
    run: async (argv, context) => (await import('./rollout.ts')).rolloutCommand(argv, context),
  },
  {
    name: 'engines',
    summary: 'which engines are here, and install vLLM for the CPU',
    run: async (argv, context) => (await import('./engines.ts')).enginesCommand(argv, context),
  },
  {
    name: 'router',
    summary: 'run one router process',
    inner: true,
    run: async (argv) => (await import('./router.ts')).routerCommand([...argv]),
  },
  {
    name: 'engine',
    summary: 'run one engine process',
    inner: true,
    run: async (argv) => (await import('./engine.ts')).engineCommand([...argv]),
  },
];
