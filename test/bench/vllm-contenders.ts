/** What stands in front of the vLLM instances: our router, or vllm-router in one of its modes. All on the very same instances. */
import { freePort } from '../ports.ts';
import type { Child, Children } from './children.ts';
import { untilAnswers } from './sluice.ts';
import { BLOCK_TOKENS, MODEL, type VllmDeployment } from './vllm-deployment.ts';

export const OURS = 'sluice';
/** Version that the targets were set against. */
export const VLLM_ROUTER_VERSION = '0.1.17';

export interface Front {
  readonly name: string;
  readonly url: string;
  /** Before every measurement: throws with its last output when it died meanwhile. */
  check(): void;
}

export function ourFront(deployment: VllmDeployment): Front {
  return { name: OURS, url: deployment.url, check: () => deployment.check() };
}

/** Where vllm-router finds an instance. */
export interface Backend {
  readonly url: string;
  readonly role: string;
  /** Port of its KV events; null = not to be told. */
  readonly events: number | null;
}

export interface VllmRouterMode {
  readonly name: string;
  readonly policy: 'cache_aware' | 'kv_aware';
  /** Looks after its instances every second and takes one back after one good look; by default it takes minutes. */
  readonly watchful: boolean;
}

/** @throws Error with its last output when it does not answer */
export async function startVllmRouter(
  children: Children,
  command: string,
  backends: readonly Backend[],
  mode: VllmRouterMode,
): Promise<Front> {
  const port = await freePort();
  const flags = [...modeFlags(mode), ...backends.flatMap((backend) => backendFlags(backend, mode))];
  const listen = ['--host', '127.0.0.1', '--port', String(port), '--prometheus-host', '127.0.0.1'];
  const metrics = ['--prometheus-port', String(await freePort()), '--log-level', 'warning'];
  const child = children.start(mode.name, [command, ...flags, ...listen, ...metrics], { cores: null, ipc: false });
  try {
    await untilAnswers(child, port, MODEL);
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { name: mode.name, url: `http://127.0.0.1:${port}`, check: () => checkRunning(child) };
}

function modeFlags({ policy, watchful }: VllmRouterMode): string[] {
  const disaggregated = ['--vllm-pd-disaggregation', '--kv-connector', 'nixl', '--policy', policy];
  const startup = ['--worker-startup-check-interval', '1'];
  const events = policy === 'kv_aware' ? ['--kv-event-block-size', String(BLOCK_TOKENS), '--kv-event-model', MODEL] : [];
  const watch = ['--health-check-interval-secs', '1', '--health-success-threshold', '1', '--cb-timeout-duration-secs', '1'];
  return [...disaggregated, ...startup, ...events, ...(watchful ? watch : [])];
}

function backendFlags({ url, role, events }: Backend, { policy }: VllmRouterMode): string[] {
  const told = policy === 'kv_aware' && events !== null && role === 'prefill' ? ['--pd-kv-events', `${url}=tcp://127.0.0.1:${events}`] : [];
  return [role === 'prefill' ? '--prefill' : '--decode', url, ...told];
}

function checkRunning(child: Child): void {
  if (!child.running()) throw new Error(`${child.name} ended: ${child.tail().slice(-2000)}`);
}
