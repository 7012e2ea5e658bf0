/** `sluice router`: one router process. */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { loadTokenizer } from '../engines/index.ts';
import { DEFAULT_CONFIG, parseConfig, type RouterConfig, startRouter } from '../router/index.ts';
import { SluiceError, systemClock } from '../shared/index.ts';
import { createLogger } from '../telemetry/index.ts';

const HELP = `Usage: sluice router --model NAME [flags]

Runs one router: OpenAI's HTTP API in front of prefill and decode instances. Which instances there are it is told through its admin
listener (PUT /admin/instances); \`sluice up\` and \`sluice start\` do that.

  --model NAME        model that requests ask for
  --host ADDRESS      address to listen on (default 127.0.0.1)
  --port N            default 0: any free port
  --admin-port N      admin listener on 127.0.0.1 (default 0: any free port)
  --config JSON       limits, deadlines, saltHeader; what is left out keeps its default:
                      ${JSON.stringify(DEFAULT_CONFIG)}
  --grace-ms N        how long SIGTERM waits for requests under way (default 30000)
  --help              this text

Example: sluice router --model tiny --port 8080 --config '{"limits":{"queue":100}}'
`;

interface Flags {
  readonly model: string;
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  readonly graceMs: number;
  readonly config: RouterConfig;
}

/** Resolves with the exit code once the router has stopped. */
export async function routerCommand(argv: string[]): Promise<number> {
  let flags: Flags | null;
  try {
    flags = readFlags(argv);
  } catch (error) {
    process.stderr.write(`sluice router: ${error instanceof Error ? error.message : String(error)}\nSee sluice router --help.\n`);
    return 2;
  }
  if (!flags) {
    process.stdout.write(HELP);
    return 0;
  }
  return run(flags);
}

async function run({ model, host, port, adminPort, graceMs, config }: Flags): Promise<number> {
  const log = createLogger({ name: 'router', level: 'info', format: 'json' });
  const options = {
    model,
    config,
    clock: systemClock,
    log,
    loadTokenizer,
    newId: requestIds(),
    random: Math.random,
  };
  try {
    const router = await startRouter(options, { host, port, adminPort });
    log.info({ url: router.url, adminUrl: router.adminUrl, model }, 'listening');
    process.send?.({ type: 'listening', url: router.url, adminUrl: router.adminUrl });
    await stopAsked();
    await router.stop(graceMs);
    return 0;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    const why = code === 'EADDRINUSE' ? `port ${port} on ${host} is in use: choose another --port, or 0 for any free one` : String(error);
    process.stderr.write(`sluice router: ${why}\n`);
    return 1;
  }
}

/** Ids that no other process gives out: drawing randomness for every request would cost more than placing it. */
function requestIds(): () => string {
  const prefix = randomBytes(8).toString('hex');
  let count = 0;
  return () => `${prefix}-${(count++).toString(36)}`;
}

/** SIGTERM, SIGINT, or the end of the process that started this one. */
function stopAsked(): Promise<void> {
  return new Promise((resolve) => {
    for (const event of ['SIGTERM', 'SIGINT'] as const) process.once(event, () => resolve());
    process.once('disconnect', () => resolve());
  });
}

function readFlags(argv: string[]): Flags | null {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: argv,
    options: {
      model: text,
      host: text,
      port: text,
      'admin-port': text,
      config: text,
      'grace-ms': text,
      help: { type: 'boolean', short: 'h' },
    },
    strict: true,
    allowPositionals: false,
  });
  if (values.help) return null;
  if (!values.model) throw new Error('--model: expected the name of the served model, got nothing');
  return {
    model: values.model,
    host: values.host ?? '127.0.0.1',
    port: integer('--port', values.port, 0, 65_535, 0),
    adminPort: integer('--admin-port', values['admin-port'], 0, 65_535, 0),
    graceMs: integer('--grace-ms', values['grace-ms'], 0, 3_600_000, 30_000),
    config: values.config === undefined ? DEFAULT_CONFIG : config(values.config),
  };
}

function config(text: string): RouterConfig {
  try {
    return parseConfig(text);
  } catch (error) {
    throw new Error(`--config: ${error instanceof SluiceError ? error.message : String(error)}`, { cause: error });
  }
}

function integer(flag: string, text: string | undefined, ...[min, max, fallback]: [number, number, number]): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max)
    throw new Error(`${flag}: expected a whole number from ${min} to ${max}, got ${JSON.stringify(text)}`);
  return value;
}
