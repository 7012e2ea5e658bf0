/** Requests to an API server of a test as the user of a kubeconfig that the harness wrote: for what a test prepares, not for what it tests. */
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { dirname, join } from 'node:path';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface Call {
  /** Text goes as it is, anything else as JSON. */
  readonly body?: unknown;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** Default: whatever the API server likes, which is JSON. */
  readonly accept?: string;
}

export interface Login {
  readonly server: string;
  /** PEM. */
  readonly certificate: string;
  readonly user: string;
  readonly token: string;
  readonly namespace: string;
}

const ANSWER_WITHIN_MS = 30_000;

export function call({ server, certificate, token }: Login, method: string, path: string, what: Call = {}): Promise<Answer> {
  const { body, contentType = 'application/json', accept = '*/*' } = what;
  const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body);
  // Node frames no body of a DELETE by itself.
  const length = text === null ? {} : { 'content-length': Buffer.byteLength(text) };
  const headers = { authorization: `Bearer ${token}`, 'content-type': contentType, accept, ...length };
  return new Promise((resolve, reject) => {
    const sent = request(`${server}${path}`, { method, headers, ca: certificate, agent: false }, (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        answer += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: answer })).on('error', reject);
    });
    sent.setTimeout(ANSWER_WITHIN_MS, () => sent.destroy(new Error(`no answer to ${method} ${path} within ${ANSWER_WITHIN_MS} ms`)));
    sent.on('error', reject);
    sent.end(text ?? undefined);
  });
}

interface Kubeconfig {
  readonly clusters: readonly {
    readonly name: string;
    readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string };
  }[];
  readonly users: readonly { readonly name: string; readonly user: { readonly token: string } }[];
  readonly contexts: readonly {
    readonly name: string;
    readonly context: { readonly cluster: string; readonly user: string; readonly namespace: string };
  }[];
}

export function writeKubeconfig(file: string, { server, certificate, user, token, namespace }: Login): void {
  const cluster = { server, 'certificate-authority-data': Buffer.from(certificate).toString('base64') };
  const config: Kubeconfig & Record<string, unknown> = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster }],
    users: [{ name: user, user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user, namespace } }],
    'current-context': 'test',
  };
  // JSON is YAML.
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
}

export function readKubeconfig(file: string): Login {
  const { clusters, users, contexts }: Kubeconfig = JSON.parse(readFileSync(file, 'utf8'));
  const [cluster, user, context] = [clusters[0]?.cluster, users[0], contexts[0]?.context];
  if (!cluster || !user || !context) throw new Error(`${file} is no kubeconfig of the harness`);
  const certificate = Buffer.from(cluster['certificate-authority-data'], 'base64').toString('utf8');
  return { server: cluster.server, certificate, user: user.name, token: user.user.token, namespace: context.namespace };
}

/** An API server as its admin sees it. */
export class Admin {
  readonly #login: Login;
  readonly #folder: string;

  constructor(kubeconfig: string) {
    this.#login = readKubeconfig(kubeconfig);
    this.#folder = dirname(kubeconfig);
  }

  request(method: string, path: string, what?: Call): Promise<Answer> {
    return call(this.#login, method, path, what);
  }

  /** As `request`, and throws unless the answer is good. */
  async demand<T = unknown>(method: string, path: string, what?: Call): Promise<T> {
    const answer = await this.request(method, path, what);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body);
  }

  /** Makes a namespace that no other test has, and returns its name. */
  async namespace(prefix: string): Promise<string> {
    const made: { readonly metadata: { readonly name: string } } = await this.demand('POST', '/api/v1/namespaces', {
      body: { metadata: { generateName: `${prefix}-` } },
    });
    return made.metadata.name;
  }

  /** File of a kubeconfig whose user is this ServiceAccount, with a fresh token. Makes the ServiceAccount when it is not there. */
  async serviceAccount(namespace: string, name: string): Promise<string> {
    const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    const made = await this.request('POST', accounts, { body: { metadata: { name } } });
    if (made.status !== 201 && made.status !== 409) throw new Error(`ServiceAccount ${namespace}/${name}: ${made.body}`);
    const granted: { readonly status: { readonly token: string } } = await this.demand('POST', `${accounts}/${name}/token`, {
      body: { spec: { expirationSeconds: 3600 } },
    });
    const file = join(this.#folder, `${namespace}-${name}.kubeconfig`);
    writeKubeconfig(file, { ...this.#login, user: name, token: granted.status.token, namespace });
    return file;
  }
}
