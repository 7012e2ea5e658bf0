/** One pod that the process kubelet runs: its container as a process over all its lives, its probes, and what is told about it. */
import { request } from 'node:http';
import type { Pod } from '../../src/platform/kubernetes/index.ts';
import { type Clock, sleep } from '../../src/shared/index.ts';
import { type ContainerProcess, type ContainerSpec, commandOf, type Place, startProcess } from './kubeletcontainer.ts';
import { type ContainerView, type PodView, podStatus, terminated } from './kubeletstatus.ts';

type Probe = NonNullable<ContainerSpec['livenessProbe']>;

export interface PodRunOptions {
  readonly pod: Pod;
  readonly container: ContainerSpec;
  readonly place: Place;
  readonly clock: Clock;
  /** What a real kubelet does in a second takes that many times less here; how long a process may take to start and to end stays as it is. */
  readonly speed: number;
  readonly newId: () => string;
  /** Why the image cannot be had at the moment; null when it can. */
  readonly pullFailure: () => string | null;
  /** Takes the newest status; how often is its own business. */
  readonly report: (status: Record<string, unknown>) => void;
}

const SECOND = 1_000;
/** A crashed container is started again after that; the last one holds from then on. The kubelet's own numbers. */
const BACKOFF_MS = [0, 10 * SECOND, 20 * SECOND, 40 * SECOND, 80 * SECOND, 160 * SECOND, 300 * SECOND];
const FORGIVEN_AFTER_MS = 600 * SECOND;
const PULL_EVERY_MS = 2 * SECOND;
const KEPT_LINES = 2_000;

export class PodRun {
  readonly pod: Pod;
  readonly log: string[] = [];
  readonly #options: PodRunOptions;
  readonly #stop = new AbortController();
  readonly #startTime: string;
  #view: ContainerView;
  #failed: PodView['failed'] = null;
  #process: ContainerProcess | null = null;
  #running: Promise<void> | null = null;
  #crashes = 0;
  #ending: Promise<void> | null = null;

  constructor(options: PodRunOptions) {
    this.#options = options;
    this.pod = options.pod;
    this.#startTime = this.#now();
    const { name, image = '' } = options.container;
    const state = { kind: 'waiting', reason: 'ContainerCreating', message: '' } as const;
    this.#view = { name, image, containerID: null, restarts: 0, started: false, ready: false, state, last: null };
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  get restarts(): number {
    return this.#view.restarts;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** SIGKILL to the process of now, as the kernel's when memory runs out. */
  kill(): void {
    this.#process?.signal('SIGKILL');
  }

  /** The pod fails as a whole and its process ends; it stays to be seen. */
  async fail(reason: string, message: string): Promise<void> {
    this.#failed = { reason, message };
    await this.end(0);
    this.#see({});
  }

  /** SIGTERM, and SIGKILL after `graceMs`. Resolves when nothing of it runs. A shorter grace given later counts from then. */
  async end(graceMs: number): Promise<void> {
    this.#stop.abort();
    this.#see({});
    const ending = this.#endAsked(graceMs);
    this.#ending = this.#ending === null ? ending : Promise.race([this.#ending, ending]);
    await this.#ending;
    await this.#running;
  }

  /** What `preStop.sleep` takes is part of the grace. */
  async #endAsked(graceMs: number): Promise<void> {
    const seconds = this.#options.container.lifecycle?.preStop?.sleep?.seconds ?? 0;
    const pauseMs = Math.min(graceMs, this.#scaled(seconds * SECOND));
    if (pauseMs > 0 && this.#process !== null) await sleep(this.#options.clock, pauseMs);
    await this.#endProcess(graceMs - pauseMs);
  }

  /** As a crash of the kubelet's machine would: at once, nothing reported. */
  async abandon(): Promise<void> {
    this.#stop.abort();
    this.kill();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    this.#see({});
    if (!(await this.#pull(signal))) return;
    while (!signal.aborted) {
      await this.#live();
      if (signal.aborted || this.pod.spec?.restartPolicy === 'Never') return;
      if (this.pod.spec?.restartPolicy === 'OnFailure' && this.#view.last?.exitCode === 0) return;
      const waitMs = this.#scaled(BACKOFF_MS[Math.min(this.#crashes, BACKOFF_MS.length) - 1] ?? 0);
      if (waitMs > 0) {
        const message = `back-off ${waitMs}ms restarting failed container=${this.#view.name} pod=${this.pod.metadata.name}`;
        this.#see({ state: { kind: 'waiting', reason: 'CrashLoopBackOff', message } });
        await sleep(this.#options.clock, waitMs, signal);
      }
      if (!signal.aborted) this.#view = { ...this.#view, restarts: this.#view.restarts + 1 };
    }
  }

  async #pull(signal: AbortSignal): Promise<boolean> {
    const { pullFailure, clock, container } = this.#options;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const why = pullFailure();
      if (why === null) return true;
      const message = attempt === 0 ? why : `Back-off pulling image "${container.image}": ${why}`;
      this.#see({ state: { kind: 'waiting', reason: attempt === 0 ? 'ErrImagePull' : 'ImagePullBackOff', message } });
      await sleep(clock, this.#scaled(PULL_EVERY_MS), signal);
    }
    return false;
  }

  /** One life of the container. */
  async #live(): Promise<void> {
    const { pod, container, place, newId, clock } = this.#options;
    const startedAt = this.#now();
    const startedMs = clock.now();
    const containerID = `process://${newId()}`;
    let command: ReturnType<typeof commandOf>;
    try {
      command = commandOf(pod, container, place);
    } catch (error) {
      this.#crashes += 1;
      const message = error instanceof Error ? error.message : String(error);
      this.#see({ state: { kind: 'waiting', reason: 'CreateContainerConfigError', message } });
      return;
    }
    const process = startProcess(command, (line) => {
      this.log.push(line);
      if (this.log.length > KEPT_LINES) this.log.shift();
    });
    this.#process = process;
    this.#see({ containerID, state: { kind: 'running', startedAt }, started: container.startupProbe === undefined, ready: false });
    const life = new AbortController();
    const probes = this.#probe(AbortSignal.any([life.signal, this.#stop.signal]), process);
    const exit = await process.exited;
    life.abort();
    await probes;
    this.#process = null;
    const last = terminated(exit, { containerID, startedAt, finishedAt: this.#now() });
    this.#crashes = clock.now() - startedMs > this.#scaled(FORGIVEN_AFTER_MS) ? 1 : this.#crashes + 1;
    this.#see({ state: { kind: 'terminated', terminated: last }, last, started: false, ready: false });
  }

  async #probe(signal: AbortSignal, process: ContainerProcess): Promise<void> {
    const { startupProbe, readinessProbe, livenessProbe } = this.#options.container;
    if (startupProbe && !(await this.#untilStarted(startupProbe, signal, process))) return;
    await Promise.all([
      readinessProbe ? this.#follow(readinessProbe, signal, (ready) => this.#see({ ready })) : this.#see({ ready: !signal.aborted }),
      livenessProbe && this.#follow(livenessProbe, signal, (lives) => !lives && this.#restart('liveness', process)),
    ]);
  }

  async #untilStarted(probe: Probe, signal: AbortSignal, process: ContainerProcess): Promise<boolean> {
    let started = false;
    const end = new AbortController();
    // The time that a process may take to start stays as it is: as many probes more as they are closer together.
    const failureThreshold = (probe.failureThreshold ?? 3) * this.#options.speed;
    await this.#follow({ ...probe, failureThreshold }, AbortSignal.any([signal, end.signal]), (well) => {
      started = well;
      end.abort();
      if (well) this.#see({ started: true });
      else this.#restart('startup', process);
    });
    return started;
  }

  /** Asks again and again, and tells every change of the verdict; the first one too. */
  async #follow(probe: Probe, signal: AbortSignal, tell: (well: boolean) => void): Promise<void> {
    const { clock } = this.#options;
    const { periodSeconds = 10, failureThreshold = 3, initialDelaySeconds = 0 } = probe;
    await sleep(clock, this.#scaled(initialDelaySeconds * SECOND), signal);
    let verdict: boolean | null = null;
    let failures = 0;
    while (!signal.aborted) {
      const well = await this.#ask(probe, signal);
      if (signal.aborted) return;
      failures = well ? 0 : failures + 1;
      const next: boolean | null = well ? true : failures >= failureThreshold ? false : verdict;
      if (next !== verdict && next !== null) tell(next);
      verdict = next;
      await sleep(clock, this.#scaled(periodSeconds * SECOND), signal);
    }
  }

  #ask({ httpGet, timeoutSeconds = 1 }: Probe, signal: AbortSignal): Promise<boolean> {
    if (!httpGet) return Promise.resolve(true);
    const { path = '/', port } = httpGet;
    const named = this.#options.container.ports?.find(({ name }) => name === port)?.containerPort;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutSeconds * SECOND)]);
    return new Promise((resolve) => {
      const sent = request({ host: this.#options.place.podIp, port: named ?? port, path, agent: false, signal: limit }, (response) => {
        response.resume();
        const status = response.statusCode ?? 0;
        resolve(status >= 200 && status < 400);
      });
      sent.on('error', () => resolve(false));
      sent.end();
    });
  }

  #restart(which: string, process: ContainerProcess): void {
    this.log.push(`kubelet: ${which} probe failed, the container is ended`);
    void this.#endProcess((this.pod.spec?.terminationGracePeriodSeconds ?? 30) * SECOND, process);
  }

  async #endProcess(graceMs: number, process = this.#process): Promise<void> {
    if (process === null) return;
    process.signal(graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
    const cancel = this.#options.clock.after(graceMs, () => process.signal('SIGKILL'));
    await process.exited;
    cancel();
  }

  #see(change: Partial<ContainerView>): void {
    this.#view = { ...this.#view, ...change };
    const { place, report } = this.#options;
    const restartPolicy = this.pod.spec?.restartPolicy ?? 'Always';
    report(podStatus({ podIp: place.podIp, startTime: this.#startTime, restartPolicy, container: this.#view, failed: this.#failed }));
  }

  #scaled(ms: number): number {
    return ms / this.#options.speed;
  }

  /** Kubernetes keeps times of whole seconds. */
  #now(): string {
    return new Date(this.#options.clock.wall()).toISOString().replace(/\.\d+Z$/, 'Z');
  }
}
