/** Which running deployment a command looks at, and how it asks its router. */
import type { Context } from './context.ts';
import { type RunState, runStates } from './runstate.ts';

export const TARGET_FLAGS = { router: { type: 'string' }, name: { type: 'string' } } as const;

export const TARGET_HELP = `  --name NAME       the deployment of this name; not needed when only one runs here
  --router URL      the router at this address, or the admin address of one that was not started here`;

export type Target =
  | { readonly ok: true; readonly name: string; readonly adminUrl: string }
  | { readonly ok: false; readonly message: string };

export function findTarget(flags: { readonly router: string | null; readonly name: string | null }, context: Context): Target {
  const states = runStates(context.runtimeFolder);
  if (flags.router !== null) return byAddress(flags.router, states);
  const matching = flags.name === null ? states : states.filter((state) => state.name === flags.name);
  const [state, second] = matching;
  if (state && !second) return { ok: true, name: state.name, adminUrl: state.adminUrl };
  return { ok: false, message: state ? several(matching) : none(flags.name, states) };
}

function byAddress(text: string, states: readonly RunState[]): Target {
  if (!URL.canParse(text) || !['http:', 'https:'].includes(new URL(text).protocol)) {
    return { ok: false, message: `--router: "${text}" is no address; write it as http://127.0.0.1:8000` };
  }
  const { origin } = new URL(text);
  const state = states.find(({ url, adminUrl }) => url === origin || adminUrl === origin);
  return { ok: true, name: state?.name ?? origin, adminUrl: state?.adminUrl ?? origin };
}

function none(name: string | null, states: readonly RunState[]): string {
  if (name === null || states.length === 0) return 'nothing runs here. Start something with: sluice start, or sluice up -f FILE';
  return `no deployment named "${name}" runs here; there is: ${states.map((state) => state.name).join(', ')}`;
}

function several(states: readonly RunState[]): string {
  const lines = states.map(({ name, pid, url }) => `  ${name}  ${url}  (process ${pid})`);
  return ['several deployments run here; say which with --name NAME or --router URL:', ...lines].join('\n');
}

export type AdminAnswer =
  | { readonly ok: true; readonly json: unknown }
  | { readonly ok: false; readonly status: number | null; readonly message: string };

const ANSWER_MS = 5_000;

/** Never throws. `status` is null when nothing answered. */
export async function askAdmin(
  adminUrl: string,
  path: string,
  { method = 'GET', withinMs = ANSWER_MS }: { readonly method?: 'GET' | 'POST'; readonly withinMs?: number } = {},
): Promise<AdminAnswer> {
  try {
    const response = await fetch(`${adminUrl}${path}`, { method, signal: AbortSignal.timeout(withinMs) });
    const text = await response.text();
    if (!response.ok)
      return { ok: false, status: response.status, message: `${adminUrl}${path} answered ${response.status}: ${text.slice(0, 500)}` };
    return { ok: true, json: JSON.parse(text) };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const why = cause instanceof Error ? cause.message : String(cause);
    return { ok: false, status: null, message: `the router's admin address ${adminUrl} does not answer (${why})` };
  }
}
