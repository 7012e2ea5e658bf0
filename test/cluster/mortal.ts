/**
 * An operator that dies at a chosen moment, within this process: after its n-th write has taken effect, nothing of it reaches the API
 * server any more, and nothing comes back to it, as after SIGKILL.
 */
import { FIELD_MANAGER, Operator } from '../../src/controller/operator/index.ts';
import { connect, KubernetesClient, LostConnection, type Transport } from '../../src/platform/kubernetes/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { OPERATORS } from './operatorbed.ts';

export type Fate =
  | { readonly kind: 'lives' }
  /** The `write`-th write takes effect, and its sender is no more. */
  | { readonly kind: 'dies'; readonly write: number }
  /** Every write takes effect, and the first answer to each is lost with its connection. */
  | { readonly kind: 'loses answers' };

export interface MortalOptions {
  readonly kubeconfig: string;
  readonly namespace: string;
  readonly image: string;
  readonly fate: Fate;
}

export class Mortal {
  readonly #operator: Operator;
  readonly #transport: MortalTransport;
  readonly #log: string[];

  private constructor(operator: Operator, transport: MortalTransport, log: string[]) {
    this.#operator = operator;
    this.#transport = transport;
    this.#log = log;
    // One that is dead starts no round; whatever round runs stays where it is for ever.
    void transport.died.then(() => operator.stop(0));
  }

  static async start({ kubeconfig, namespace, image, fate }: MortalOptions): Promise<Mortal> {
    const { transport } = await connect({ kind: 'kubeconfig', path: kubeconfig }, 'sluice-test');
    const mortal = new MortalTransport(transport, fate);
    const lines: string[] = [];
    const log = createLogger({ name: 'operator', level: 'info', format: 'json', destination: { write: (line) => lines.push(line) } });
    const client = new KubernetesClient({ transport: mortal, fieldManager: FIELD_MANAGER });
    const own = { identity: 'mortal', operatorPeers: OPERATORS, leads: () => true, clock: systemClock, log };
    const operator = new Operator({ client, namespace, image, ...own });
    const one = new Mortal(operator, mortal, lines);
    await operator.start();
    return one;
  }

  get isDead(): boolean {
    return this.#transport.isDead;
  }

  /** `PATCH /apis/…`, in the order in which they were sent. */
  get writes(): readonly string[] {
    return this.#transport.writes;
  }

  /** Its newest lines, for messages of tests that fail. */
  log(): string {
    return this.#log.slice(-15).join('');
  }

  async stop(): Promise<void> {
    // It may die of a write while it stops, and nothing that is dead comes to an end.
    if (!this.#transport.isDead) await Promise.race([this.#operator.stop(5_000), this.#transport.died]);
    this.#transport.close();
  }
}

class MortalTransport implements Transport {
  readonly writes: string[] = [];
  readonly died: Promise<void>;
  isDead = false;
  readonly #inner: Transport;
  readonly #fate: Fate;
  readonly #end = new AbortController();
  readonly #lost = new Set<string>();

  constructor(inner: Transport, fate: Fate) {
    this.#inner = inner;
    this.#fate = fate;
    this.died = new Promise((resolve) => this.#end.signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  async send(request: Parameters<Transport['send']>[0]): ReturnType<Transport['send']> {
    if (this.isDead) return NEVER;
    const isWrite = request.method !== 'GET';
    if (isWrite) this.writes.push(`${request.method} ${request.path}`);
    const isLast = isWrite && this.#fate.kind === 'dies' && this.writes.length === this.#fate.write;
    try {
      const signal = AbortSignal.any([request.signal, this.#end.signal]);
      const answer = await this.#inner.send({ ...request, signal });
      if (isLast) this.#die();
      if (this.isDead) return NEVER;
      if (isWrite) this.#lose(request, answer.status);
      return { ...answer, body: this.#whileAlive(answer.body) };
    } catch (error) {
      if (this.isDead) return NEVER;
      throw error;
    }
  }

  close(): void {
    this.#inner.close();
  }

  #die(): void {
    this.isDead = true;
    this.#end.abort();
  }

  #lose({ method, path, body }: Parameters<Transport['send']>[0], status: number): void {
    const key = `${method} ${path} ${body}`;
    if (this.#fate.kind !== 'loses answers' || status >= 300 || this.#lost.has(key)) return;
    this.#lost.add(key);
    throw new LostConnection('the connection broke off', true);
  }

  async *#whileAlive(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      for await (const part of body) {
        if (this.isDead) await NEVER;
        yield part;
      }
    } catch (error) {
      if (this.isDead) await NEVER;
      throw error;
    }
  }
}

const NEVER = new Promise<never>(() => {});
