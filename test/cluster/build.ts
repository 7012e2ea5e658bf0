/**
 * Gets what binaries.ts does not find: Kubernetes' programs are built by Go from the module proxy, etcd is taken out of Debian's package.
 * All goes into the user's cache folder; nothing is installed and no service is started.
 */
import { spawn } from 'node:child_process';
import { accessSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lineRing } from '../../src/shared/index.ts';
import {
  cacheFolder,
  type Environment,
  KUBERNETES_VERSION,
  type KubernetesProgram,
  MODULE_VERSIONS,
  type ModuleProgram,
  type Program,
} from './binaries.ts';

/** Order of the build: the first one compiles nearly everything that the others share. */
const BUILD_ORDER: readonly KubernetesProgram[] = [
  ...(['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubectl'] as const),
  ...(['kubelet', 'kube-proxy'] as const),
];
const PACKAGES: Readonly<Record<ModuleProgram, string>> = {
  helm: 'helm.sh/helm/v3/cmd/helm',
  coredns: 'github.com/coredns/coredns',
  'kube-router': 'github.com/cloudnativelabs/kube-router/v2/cmd/kube-router',
};
const PAUSE = fileURLToPath(new URL('tier3/pause.go', import.meta.url));
/** Where Go's own installer puts it, for shells that do not name it on PATH. */
const GO_DEFAULT_FOLDER = '/usr/local/go/bin';

export interface BuildOptions {
  readonly env: Environment;
  readonly say: (line: string) => void;
}

/** One line for each program that could not be had, with why. Empty = all are in the cache now. */
export async function obtain(programs: readonly Program[], options: BuildOptions): Promise<readonly string[]> {
  const reasons: string[] = [];
  mkdirSync(cacheFolder(options.env), { recursive: true });
  const wanted = BUILD_ORDER.filter((program) => programs.includes(program));
  if (programs.includes('etcd')) reasons.push(...(await attempt('etcd', () => unpackEtcd(options))));
  for (const program of ['helm', 'coredns', 'kube-router'] as const)
    if (programs.includes(program)) reasons.push(...(await attempt(program, () => installModule(program, options))));
  if (programs.includes('pause')) reasons.push(...(await attempt('pause', () => buildPause(options))));
  if (wanted.length === 0) return reasons;
  const build = join(cacheFolder(options.env), 'build');
  const prepared = await attempt(wanted.join(', '), () => prepareModule(build, options));
  if (prepared.length > 0) return [...reasons, ...prepared];
  for (const program of wanted) reasons.push(...(await attempt(program, () => buildProgram(program, build, options))));
  return reasons;
}

async function attempt(what: string, work: () => Promise<void>): Promise<readonly string[]> {
  try {
    await work();
    return [];
  } catch (error) {
    return [`${what}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

/**
 * A module of its own that requires Kubernetes. Kubernetes' go.mod replaces its libraries by folders of its own repository, which the
 * proxy does not serve: the same libraries are published as modules, v0.x.y for Kubernetes v1.x.y.
 */
async function prepareModule(folder: string, options: BuildOptions): Promise<void> {
  mkdirSync(folder, { recursive: true });
  options.say(`reading the module of Kubernetes ${KUBERNETES_VERSION}`);
  const described = await go(['mod', 'download', '-json', `k8s.io/kubernetes@v${KUBERNETES_VERSION}`], folder, options);
  const { GoMod: path }: { readonly GoMod?: string } = JSON.parse(described);
  if (!path) throw new Error('the Go module proxy did not give k8s.io/kubernetes');
  const module = moduleFile(readFileSync(path, 'utf8'));
  const file = join(folder, 'go.mod');
  const imports = BUILD_ORDER.map((program) => `\t_ "k8s.io/kubernetes/cmd/${program}"`).join('\n');
  writeFileSync(file, module);
  writeFileSync(join(folder, 'tools.go'), `//go:build tools\n\npackage tools\n\nimport (\n${imports}\n)\n`);
  await go(['mod', 'tidy'], folder, options);
}

/** go.mod of the build, from that of Kubernetes. */
export function moduleFile(kubernetes: string): string {
  const setting = (name: string) => new RegExp(`^${name} .+$`, 'm').exec(kubernetes)?.[0];
  const library = KUBERNETES_VERSION.replace(/^1\./, 'v0.');
  const names = [...kubernetes.matchAll(/^\t(\S+) => \.\/staging\/\S+$/gm)].map((match) => match[1] ?? '');
  if (names.length === 0) throw new Error('the go.mod of Kubernetes has not the form that is known: no library is replaced by ./staging');
  return [
    'module example.invalid/kubernetes-programs',
    setting('go') ?? 'go 1.25.0',
    setting('godebug') ?? '',
    `require k8s.io/kubernetes v${KUBERNETES_VERSION}`,
    `replace (\n${names.map((name) => `\t${name} => ${name} ${library}`).join('\n')}\n)`,
    '',
  ].join('\n\n');
}

async function buildProgram(program: KubernetesProgram, folder: string, options: BuildOptions): Promise<void> {
  options.say(`building ${program} ${KUBERNETES_VERSION} (once; the first takes about 5 minutes of 2 cores, the others about 1)`);
  const [major, minor] = KUBERNETES_VERSION.split('.');
  const variables = { gitVersion: `v${KUBERNETES_VERSION}`, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
  const linker = Object.entries(variables).map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
  const partial = join(folder, `${program}.${process.pid}`);
  try {
    const flags = ['-trimpath', '-ldflags', ['-s -w', ...linker].join(' '), '-o', partial];
    await go(['build', ...flags, `k8s.io/kubernetes/cmd/${program}`], folder, options);
    renameSync(partial, join(cacheFolder(options.env), program));
  } finally {
    rmSync(partial, { force: true });
  }
}

/** A program whose module needs nothing replaced. */
async function installModule(program: ModuleProgram, options: BuildOptions): Promise<void> {
  const [cache, version] = [cacheFolder(options.env), MODULE_VERSIONS[program]];
  const folder = mkdtempSync(join(cache, `${program}-build-`));
  options.say(`building ${program} ${version} (once, about 1 minute of 2 cores)`);
  const linker = ['-s -w', ...(program === 'helm' ? helmVariables() : [])].join(' ');
  try {
    const env = { ...options.env, GOBIN: folder };
    await go(['install', '-trimpath', '-ldflags', linker, `${PACKAGES[program]}@v${version}`], folder, { ...options, env });
    renameSync(join(folder, program), join(cache, program));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Helm takes a cluster that it cannot ask for the one that it was built for. */
function helmVariables(): readonly string[] {
  const [major, minor] = KUBERNETES_VERSION.split('.');
  const cluster = ['chartutil', 'lint/rules'].flatMap((name) => {
    const variable = `helm.sh/helm/v3/pkg/${name}.k8sVersion`;
    return [`-X ${variable}Major=${major}`, `-X ${variable}Minor=${minor}`];
  });
  return [`-X helm.sh/helm/v3/internal/version.version=v${MODULE_VERSIONS.helm}`, ...cluster];
}

async function buildPause(options: BuildOptions): Promise<void> {
  const cache = cacheFolder(options.env);
  const partial = join(cache, `pause.${process.pid}`);
  try {
    await go(['build', '-trimpath', '-ldflags', '-s -w', '-o', partial, PAUSE], cache, options);
    renameSync(partial, join(cache, 'pause'));
  } finally {
    rmSync(partial, { force: true });
  }
}

async function go(args: readonly string[], folder: string, { env }: BuildOptions): Promise<string> {
  const path = `${env['PATH'] ?? ''}${delimiter}${GO_DEFAULT_FOLDER}`;
  // The workspace of whoever runs this is not ours; no C compiler is needed.
  const clean = { ...env, PATH: path, CGO_ENABLED: '0', GOFLAGS: '-mod=mod -buildvcs=false', GOWORK: 'off' };
  return run(['go', ...args], { folder, env: clean, missing: 'Go 1.25 or newer is not installed (https://go.dev/dl)' });
}

async function unpackEtcd(options: BuildOptions): Promise<void> {
  const cache = cacheFolder(options.env);
  const folder = mkdtempSync(join(cache, 'etcd-package-'));
  const missing = 'not on PATH, and this is no Debian whose package etcd-server could be unpacked: install etcd 3.4 or newer';
  try {
    options.say("unpacking etcd from Debian's package etcd-server");
    await run(['apt-get', 'download', 'etcd-server'], { folder, env: options.env, missing });
    const file = readdirSync(folder).find((name) => name.endsWith('.deb'));
    if (file === undefined) throw new Error('apt-get brought no file; apt-get update, then again');
    await run(['dpkg-deb', '-x', file, 'files'], { folder, env: options.env, missing });
    const program = join(folder, 'files', 'usr', 'bin', 'etcd');
    accessSync(program);
    copyFileSync(program, join(folder, 'etcd'));
    renameSync(join(folder, 'etcd'), join(cache, 'etcd'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface RunOptions {
  readonly folder: string;
  readonly env: Environment;
  /** Said when the program itself is not there. */
  readonly missing: string;
}

const MAX_OUTPUT_CHARS = 1_000_000;
const LAST_WORDS = 3;

/** Output of a command that ends well; throws with its last words otherwise. */
function run([program = '', ...args]: readonly string[], { folder, env, missing }: RunOptions): Promise<string> {
  const child = spawn(program, args, { cwd: folder, env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const words = lineRing(LAST_WORDS, 500, () => {});
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(0, MAX_OUTPUT_CHARS);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => words.write(text));
  return new Promise((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => reject(error.code === 'ENOENT' ? new Error(missing) : error));
    child.on('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${program} ${args[0]} failed: ${words.last(LAST_WORDS).join(' | ')}`));
    });
  });
}
