/** What stands between client and engines in the router bench: nothing, another router, or ours. All on the same engines. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../ports.ts';
import type { Child, Children } from './children.ts';
import type { Baseline } from './options.ts';
import { nginxPeer, type Peer, pythonPeer } from './peers.ts';
import type { Progress } from './progress.ts';
import { type Engine, startRouter, untilAnswers } from './sluice.ts';

export const OURS = 'sluice';
export const DIRECT = 'direct';

/** Versions that the targets were set against. */
const VLLM_ROUTER_VERSION = '0.1.17';
const SMG_VERSION = '1.13.0';

const PLAIN_PROXY = fileURLToPath(new URL('plain-proxy.ts', import.meta.url));

export interface Contender {
  readonly name: string;
  /** Where connections go, in turn. */
  readonly ports: readonly number[];
  /** Root of the process tree whose CPU counts; null for direct. */
  readonly pid: number | null;
  /** Before every measurement: throws with its last output when it died meanwhile. */
  check(): void;
  stop(): Promise<void>;
}

export interface Baselines {
  readonly ready: ReadonlyMap<Baseline, { readonly command: string; readonly version: string }>;
  readonly missing: readonly string[];
}

export async function prepareBaselines(wanted: readonly Baseline[], children: Children, progress: Progress): Promise<Baselines> {
  const ready = new Map<Baseline, { command: string; version: string }>();
  const missing: string[] = [];
  for (const baseline of wanted) {
    const peer = await preparePeer(baseline, children, progress);
    if (peer.kind === 'ready') ready.set(baseline, peer);
    else {
      missing.push(`${baseline}: ${peer.reason}`);
      progress.note(`left out ${baseline}: ${peer.reason}`);
    }
  }
  return { ready, missing };
}

async function preparePeer(baseline: Baseline, children: Children, progress: Progress): Promise<Peer> {
  try {
    switch (baseline) {
      case 'nginx':
        return await nginxPeer(children, progress);
      case 'vllmRouter':
        return await pythonPeer('vllm-router', VLLM_ROUTER_VERSION, children, progress);
      case 'smg':
        return await pythonPeer('smg', SMG_VERSION, children, progress);
      case 'node':
        return { kind: 'ready', command: process.execPath, version: `plain proxy, ${process.version}` };
    }
  } catch (error) {
    return { kind: 'missing', reason: error instanceof Error ? error.message : String(error) };
  }
}

export interface Place {
  readonly children: Children;
  readonly engines: readonly Engine[];
  readonly cores: readonly number[] | null;
  /** Folder for a CPU profile of our router, or null. */
  readonly profile: string | null;
}

/** Starts every contender over the engines. A baseline that does not come up is left out, its reason pushed on `missing`. */
export async function startContenders(place: Place, baselines: Baselines, missing: string[]): Promise<Contender[]> {
  const ports = place.engines.map((engine) => engine.port);
  const contenders: Contender[] = [{ name: DIRECT, ports, pid: null, check: () => undefined, stop: async () => undefined }];
  for (const [baseline, { command }] of baselines.ready) {
    try {
      contenders.push(await startBaseline(place, baseline, command));
    } catch (error) {
      missing.push(`${baseline}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const nodeFlags = place.profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${place.profile}`];
  const router = await startRouter(place.children, place.engines, { cores: place.cores, nodeFlags, flags: [] });
  contenders.push(contender(OURS, router.port, router.child));
  return contenders;
}

async function startBaseline(place: Place, baseline: Baseline, command: string): Promise<Contender> {
  const port = await freePort();
  const child = place.children.start(baseline, await commandLine(place, baseline, command, port), { cores: place.cores, ipc: false });
  try {
    await untilAnswers(child, port);
  } catch (error) {
    await child.stop();
    throw error;
  }
  return contender(baseline, port, child);
}

async function commandLine(place: Place, baseline: Baseline, command: string, port: number): Promise<string[]> {
  const urls = place.engines.map((engine) => engine.url);
  const listen = [
    '--host',
    '127.0.0.1',
    '--port',
    String(port),
    '--prometheus-host',
    '127.0.0.1',
    '--prometheus-port',
    String(await freePort()),
  ];
  switch (baseline) {
    case 'nginx': {
      const file = path.join(place.children.folder, `nginx-${port}.conf`);
      writeFileSync(file, nginxConfig(port, place.engines, place.children.folder));
      return [command, '-c', file, '-e', 'stderr'];
    }
    case 'node':
      return [command, PLAIN_PROXY, String(port), ...place.engines.map((engine) => String(engine.port))];
    case 'vllmRouter':
      return [command, '--worker-urls', ...urls, '--policy', 'cache_aware', '--log-level', 'error', ...listen];
    case 'smg':
      return [command, 'launch', '--worker-urls', ...urls, '--policy', 'cache_aware', '--log-level', 'error', ...listen];
  }
}

function contender(name: string, port: number, child: Child): Contender {
  return {
    name,
    ports: [port],
    pid: child.pid,
    stop: () => child.stop(),
    check() {
      if (!child.running()) throw new Error(`${name} ended: ${child.tail().slice(-2000)}`);
    },
  };
}

/** One worker, keep-alive on both sides, nothing buffered or logged: what one would write for this use. */
function nginxConfig(port: number, engines: readonly Engine[], folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `  ${kind}_temp_path ${folder}/nginx-${port}-${kind};`,
  );
  return `daemon off;
worker_processes 1;
pid ${folder}/nginx-${port}.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
${temporary.join('\n')}
  client_body_buffer_size 128k;
  client_max_body_size 16m;
  keepalive_requests 100000000;
  upstream engines {
${engines.map((engine) => `    server 127.0.0.1:${engine.port};`).join('\n')}
    keepalive 256;
    keepalive_requests 100000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`;
}
