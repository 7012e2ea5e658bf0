/** Helm as tests run it: with a home of its own, so that what its user has set up does not count. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { KUBERNETES_VERSION, requireProgram } from '../binaries.ts';

export const CHART = fileURLToPath(new URL('../../../charts/sluice', import.meta.url));
const MAX_OUTPUT_BYTES = 16_000_000;

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export class Helm {
  readonly #program = requireProgram('helm', process.env);
  readonly #home = mkdtempSync(join(tmpdir(), 'sluice-helm-'));
  readonly #kubeconfig: string;

  /** @param kubeconfig empty for what needs no cluster */
  constructor(kubeconfig = '') {
    this.#kubeconfig = kubeconfig;
  }

  run(...args: readonly string[]): Promise<Said> {
    const folders = ['CACHE', 'CONFIG', 'DATA'].map((name) => [`HELM_${name}_HOME`, join(this.#home, name)] as const);
    const env = { PATH: process.env['PATH'], HOME: this.#home, KUBECONFIG: this.#kubeconfig, ...Object.fromEntries(folders) };
    return new Promise((resolve) => {
      execFile(this.#program, [...args], { env, maxBuffer: MAX_OUTPUT_BYTES }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
      );
    });
  }

  /** As `run`, and throws with its words when it did not end well. @returns standard output */
  async demand(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) throw new Error(`helm ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  }

  render(release: string, namespace: string, ...args: readonly string[]): Promise<string> {
    return this.demand('template', release, CHART, '-n', namespace, '--kube-version', KUBERNETES_VERSION, ...args);
  }

  close(): void {
    rmSync(this.#home, { recursive: true, force: true });
  }
}

export function manifestsOf(text: string): readonly Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS())
    .filter((one) => one !== null);
}

const PLURALS: Readonly<Record<string, string>> = {
  NetworkPolicy: 'networkpolicies',
};

/** Where server-side apply puts it. */
export function pathOf({ apiVersion, kind, metadata: { name, namespace } }: Manifest): string {
  const plural = PLURALS[kind] ?? `${kind.toLowerCase()}s`;
  const scope = namespace === undefined ? '' : `/namespaces/${namespace}`;
  return `${apiVersion.includes('/') ? '/apis' : '/api'}/${apiVersion}${scope}/${plural}/${name}`;
}
