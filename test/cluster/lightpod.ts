/**
 * What a pod of a light kubelet says to the operator, on its own loopback address: an instance who it is, a router which instances it has.
 * Nothing is served; where requests must go through, a `ProcessKubelet` runs the real thing.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { LABELS, type Pod } from '../../src/platform/kubernetes/index.ts';

/** One line of the list that the operator gives to routers. */
export interface Listed {
  readonly id: string;
  readonly incarnation: string;
  readonly role: string;
  readonly draining: boolean;
}

export interface LightPodOptions {
  readonly pod: Pod;
  readonly address: string;
  /** Told of every list that a router took. */
  readonly onList: (instances: readonly Listed[]) => void;
}

/** As in pods: see `PORTS` of the pods that the operator makes. */
const INSTANCE_PORT = 8_000;
const ADMIN_PORT = 8_081;
const TRANSFER_PORT = 40_000;

export class LightPod {
  readonly address: string;
  readonly uid: string;
  /** The status that was last written of it. */
  reported = '';
  readonly #options: LightPodOptions;
  readonly #server: Server;
  #generation = 0;
  #instances: readonly Listed[] = [];

  constructor(options: LightPodOptions) {
    this.#options = options;
    this.address = options.address;
    this.uid = options.pod.metadata.uid;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  get isRouter(): boolean {
    return this.#options.pod.metadata.labels?.[LABELS.component] === 'router';
  }

  /** A router is ready when it has a way for every request, as a real one is when one went through. */
  isReady(): boolean {
    if (!this.isRouter) return true;
    const roles = new Set(this.#instances.filter(({ draining }) => !draining).map(({ role }) => role));
    return roles.has('mixed') || (roles.has('prefill') && roles.has('decode'));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject).listen(this.isRouter ? ADMIN_PORT : INSTANCE_PORT, this.address, resolve);
    });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { status, body } = await this.#say(request);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  }

  async #say(request: IncomingMessage): Promise<{ readonly status: number; readonly body: unknown }> {
    const { uid } = this.#options.pod.metadata;
    if (!this.isRouter) return { status: 200, body: { incarnation: uid, transfer: { host: this.address, port: TRANSFER_PORT } } };
    if (request.method === 'PUT') {
      let text = '';
      for await (const chunk of request) text += String(chunk);
      const list: { readonly generation: number; readonly instances: readonly Listed[] } = JSON.parse(text);
      if (list.generation <= this.#generation) return { status: 409, body: { error: 'an older list' } };
      this.#generation = list.generation;
      this.#instances = list.instances;
      this.#options.onList(list.instances);
    }
    const instances = this.#instances.map((one) => ({ ...one, connected: true, proven: true, inFlight: 0 }));
    return { status: 200, body: { generation: this.#generation, instances } };
  }
}
