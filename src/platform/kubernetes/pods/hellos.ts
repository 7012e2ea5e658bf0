/**
 * What instances say of themselves: each is asked once in a life of its container, over its pod's address, and remembered. One that does
 * not answer is asked again after a pause that grows. Nothing is polled.
 */
import { type BackoffPolicy, backoffMs, type Cancel, type Clock } from '../../../shared/index.ts';
import { call, isRecord } from '../../probe.ts';
import type { Pod } from '../builtin.ts';
import { PORTS } from './container.ts';
import { type Hello, isReady, lifeOf, urlOf } from './read.ts';

interface Asked {
  readonly life: string;
  readonly hello: Hello | null;
  readonly failures: number;
  /** Under way, or null between two tries. */
  readonly asking: Promise<void> | null;
  readonly cancel: Cancel;
}

export interface HellosOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly timeoutMs: number;
  /** Something was learned of a pod, or another try is due. */
  readonly onNews: (pod: Pod) => void;
}

const PAUSE: BackoffPolicy = { firstMs: 500, maxMs: 30_000, factor: 2 };

export class Hellos {
  readonly #options: HellosOptions;
  /** By uid of the pod. */
  readonly #asked = new Map<string, Asked>();

  constructor(options: HellosOptions) {
    this.#options = options;
  }

  /** What it has said in its life of now; null when it has not yet. */
  of(pod: Pod): Hello | null {
    const asked = this.#asked.get(pod.metadata.uid);
    return asked !== undefined && asked.life === lifeOf(pod) ? asked.hello : null;
  }

  /** Asks a pod that is ready and has not been asked in this life. Resolves within the timeout, with or without an answer. */
  async ask(pod: Pod): Promise<void> {
    const life = lifeOf(pod);
    const url = urlOf(pod, PORTS.instance);
    if (life === null || url === null || !isReady(pod)) return;
    const before = this.#asked.get(pod.metadata.uid);
    if (before !== undefined && before.life === life) return before.asking ?? undefined;
    before?.cancel();
    await this.#ask(pod, { life, url, failures: 0 });
  }

  forget(uid: string): void {
    this.#asked.get(uid)?.cancel();
    this.#asked.delete(uid);
  }

  close(): void {
    for (const uid of this.#asked.keys()) this.forget(uid);
  }

  #ask(pod: Pod, at: { readonly life: string; readonly url: string; readonly failures: number }): Promise<void> {
    const { uid } = pod.metadata;
    const { life, url, failures } = at;
    const asking = call({ url: `${url}/sluice/info`, timeoutMs: this.#options.timeoutMs }).then((answer) => {
      if (this.#asked.get(uid)?.asking !== asking) return;
      const hello = answer.ok && answer.status === 200 ? readHello(answer.json) : null;
      if (hello !== null) {
        this.#asked.set(uid, { life, hello, failures: 0, asking: null, cancel: () => {} });
        this.#options.onNews(pod);
        return;
      }
      const waitMs = backoffMs(PAUSE, failures, this.#options.random());
      const cancel = this.#options.clock.after(waitMs, () => void this.#ask(pod, { life, url, failures: failures + 1 }));
      this.#asked.set(uid, { life, hello: null, failures: failures + 1, asking: null, cancel });
    });
    this.#asked.set(uid, { life, hello: null, failures, asking, cancel: () => {} });
    return asking;
  }
}

/** Null when it is not what an engine says. */
export function readHello(json: unknown): Hello | null {
  if (!isRecord(json) || !isRecord(json['transfer'])) return null;
  const { incarnation, transfer } = json;
  const { host, port } = Object(transfer);
  if (typeof incarnation !== 'string' || typeof host !== 'string' || typeof port !== 'number') return null;
  return { incarnation, transfer: { host, port } };
}
