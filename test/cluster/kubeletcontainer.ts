/** A container of the process kubelet: what of its pod makes a command, and that command as a real process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '../../src/platform/kubernetes/index.ts';
import { lineRing } from '../../src/shared/index.ts';
import { guard } from './program.ts';

export type PodSpec = NonNullable<Pod['spec']>;
export type ContainerSpec = PodSpec['containers'][number];

export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What a container gets to know of where it runs. */
export interface Place {
  readonly podIp: string;
  readonly nodeName: string;
  /** Where the pod's emptyDirs are. */
  readonly folder: string;
  /** Programs that images have on their PATH, and how they are run here. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
}

/** Throws with a message that a kubelet would give as reason CreateContainerConfigError. */
export function commandOf(pod: Pod, container: ContainerSpec, place: Place): Command {
  const folders = foldersOf(pod, container, place.folder);
  const env: Record<string, string> = {};
  for (const { name, value, valueFrom } of container.env ?? []) {
    const raw = valueFrom?.fieldRef ? fieldOf(pod, valueFrom.fieldRef.fieldPath, place) : (value ?? '');
    env[name] = expand(raw, env);
  }
  // Every address of a pod is its own here: loopback is everybody's.
  const located = (word: string) => (word === '::' ? place.podIp : inFolder(word, folders));
  const words = [...(container.command ?? []), ...(container.args ?? [])].map((word) => located(expand(word, env)));
  const [program, ...args] = words;
  if (program === undefined) throw new Error(`container ${container.name} names no command, and no image is looked into here`);
  const real = place.programs[program] ?? [program];
  const variables = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, inFolder(value, folders)]));
  return { program: real[0] ?? program, args: [...real.slice(1), ...args], env: { PATH: process.env['PATH'] ?? '', ...variables } };
}

/** Folders on this machine by the path that the container sees. There is no file system of its own: paths are put in their place. */
function foldersOf(pod: Pod, container: ContainerSpec, folder: string): ReadonlyMap<string, string> {
  const folders = new Map<string, string>();
  for (const { name, mountPath } of container.volumeMounts ?? []) {
    const volume = pod.spec?.volumes?.find((one) => one.name === name);
    if (!volume?.emptyDir) throw new Error(`volume ${name} is no emptyDir, and this kubelet has no other`);
    const real = join(folder, name);
    mkdirSync(real, { recursive: true });
    folders.set(mountPath, real);
  }
  return folders;
}

function inFolder(word: string, folders: ReadonlyMap<string, string>): string {
  for (const [path, real] of folders) if (word === path || word.startsWith(`${path}/`)) return real + word.slice(path.length);
  return word;
}

/** `$(NAME)` of a variable that came before; `$$` is a dollar. What names no variable stays. */
function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (whole, name?: string) => (name === undefined ? '$' : (env[name] ?? whole)));
}

function fieldOf(pod: Pod, path: string, { podIp, nodeName }: Place): string {
  const { name, namespace = '', uid, labels = {} } = pod.metadata;
  const label = /^metadata\.labels\['(.+)'\]$/.exec(path)?.[1];
  if (label !== undefined) return labels[label] ?? '';
  const fields: Readonly<Record<string, string>> = {
    'status.podIP': podIp,
    'spec.nodeName': nodeName,
    'metadata.name': name,
    'metadata.namespace': namespace,
    'metadata.uid': uid,
  };
  const value = fields[path];
  if (value === undefined) throw new Error(`fieldRef ${path} is not known to this kubelet`);
  return value;
}

export interface Exit {
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
  /** Last lines of its output. */
  readonly words: string;
}

export interface ContainerProcess {
  readonly pid: number;
  signal(signal: NodeJS.Signals): void;
  readonly exited: Promise<Exit>;
}

const KEPT_LINES = 200;
const KEPT_CHARS = 2_000;
const LAST_WORDS = 8;
const SIGNAL_CODES: Partial<Record<NodeJS.Signals, number>> = { SIGKILL: 137, SIGTERM: 143, SIGSEGV: 139, SIGABRT: 134 };

export function startProcess({ program, args, env }: Command, onLine: (line: string) => void): ContainerProcess {
  const [first = program, ...rest] = [...guard(), program, ...args];
  // A group of its own, so that nothing that it starts outlives it.
  const child = spawn(first, rest, { env: { ...env }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const ring = lineRing(KEPT_LINES, KEPT_CHARS, onLine);
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => ring.write(chunk));
  const exited = new Promise<Exit>((resolve) => {
    const words = () => ring.last(LAST_WORDS).join('\n');
    child.on('error', (error) => resolve({ code: 128, signal: null, words: error.message }));
    child.on('exit', () => killGroup(child));
    child.on('close', (code, signal) =>
      resolve({ code: signal === null ? (code ?? 1) : (SIGNAL_CODES[signal] ?? 128), signal, words: words() }),
    );
  });
  return {
    pid: child.pid ?? 0,
    signal: (signal) => (signal === 'SIGKILL' ? killGroup(child) : void child.kill(signal)),
    exited,
  };
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The group has nobody left.
  }
}
