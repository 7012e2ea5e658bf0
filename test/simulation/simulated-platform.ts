/** A platform without processes: instances become ready after some ticks, requests end after some ticks, and things can be broken. */
import type { Observed, ObservedInstance, Outcome, Platform, PublishedInstance, Role, Step } from '../../src/platform/index.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface SimulatedInstance extends Mutable<ObservedInstance> {
  ticksLeft: number;
  /** Ticks that the longest request of each router still takes. */
  requests: Map<string, number>;
}

interface SimulatedRouter {
  name: string;
  revision: string;
  phase: 'starting' | 'ready' | 'failed' | 'stopping';
  list: readonly PublishedInstance[];
  /** Instances (by incarnation) that it has a live feed from: those listed at the last tick. */
  connected: Set<string>;
  ticksLeft: number;
  /** A list that it has been given and does not act on yet. */
  coming: { list: readonly PublishedInstance[]; ticksLeft: number } | null;
  failures: number;
  failedMs: number | null;
}

export interface SimulatedTimes {
  readonly startTicks: number;
  readonly requestTicks: number;
  /** As on Kubernetes: what fails is started again by itself, and a router that ends gets requests for one more tick. */
  readonly pods?: boolean;
  /** Ticks until routers with an odd number act on a list. */
  readonly lagTicks?: number;
}

export class SimulatedPlatform implements Platform {
  nowMs = 0;
  readonly steps: Step[] = [];
  readonly #instances = new Map<string, SimulatedInstance>();
  readonly #routers = new Map<string, SimulatedRouter>();
  readonly #times: SimulatedTimes;
  #incarnations = 0;
  /** Requests on an instance at the moment it was stopped: lost ones. */
  lostRequests = 0;

  constructor(times: SimulatedTimes) {
    this.#times = times;
  }

  observe(): Promise<Observed> {
    return Promise.resolve({
      instances: [...this.#instances.values()].map(({ ticksLeft: _ticks, requests: _requests, ...instance }) => instance),
      routers: [...this.#routers.values()].map((router) => this.#observedRouter(router)),
      takenNames: [],
    });
  }

  #observedRouter(router: SimulatedRouter): Observed['routers'][number] {
    const up = router.phase === 'ready' || router.phase === 'stopping';
    const instances = router.list.map((line) => {
      const instance = this.#instances.get(line.id);
      const alive = instance?.incarnation === line.incarnation && instance.phase === 'ready';
      const { id: name, incarnation, draining } = line;
      return {
        name,
        incarnation,
        draining,
        connected: alive && router.connected.has(incarnation),
        inFlight: alive && instance.requests.has(router.name) ? 1 : 0,
      };
    });
    const { name, revision, phase, failures, failedMs } = router;
    const places = instances.some(
      ({ name, connected, draining }) => this.#instances.get(name)?.role !== 'prefill' && connected && !draining,
    );
    return {
      name,
      revision,
      phase,
      failures,
      failedMs,
      startedMs: 0,
      lastError: null,
      url: 'http://r',
      adminUrl: 'http://a',
      accepting: phase === 'ready',
      serving: phase === 'ready' && places,
      heals: this.#heals,
      instances: up ? instances : null,
    };
  }

  apply(step: Step): Promise<Outcome> {
    this.steps.push(step);
    this.#apply(step);
    return Promise.resolve({ ok: true });
  }

  #apply(step: Step): void {
    switch (step.type) {
      case 'startInstance':
        if (this.#instances.has(step.name)) throw new Error(`${step.name} exists`);
        this.#instances.set(step.name, this.#newInstance(step));
        return;
      case 'restartInstance': {
        const instance = this.#instance(step.name, 'failed');
        Object.assign(instance, { phase: 'starting', failedMs: null, incarnation: this.#incarnation(), ticksLeft: this.#times.startTicks });
        return;
      }
      case 'drainInstance':
        this.#instance(step.name, 'ready').drainingSinceMs = this.nowMs;
        return;
      case 'stopInstance': {
        const instance = this.#instances.get(step.name);
        if (!instance) throw new Error(`${step.name} is not there`);
        if (instance.phase === 'ready') this.lostRequests += instance.requests.size;
        Object.assign(instance, { phase: 'stopping', ticksLeft: 1 });
        return;
      }
      case 'startRouter':
        if (this.#routers.has(step.name)) throw new Error(`${step.name} exists`);
        this.#routers.set(step.name, {
          name: step.name,
          revision: step.revision,
          phase: 'starting',
          list: [],
          connected: new Set(),
          ticksLeft: this.#times.startTicks,
          coming: null,
          failures: 0,
          failedMs: null,
        });
        return;
      case 'restartRouter':
        Object.assign(this.#router(step.name), { phase: 'starting', failedMs: null, list: [], ticksLeft: this.#times.startTicks });
        return;
      case 'stopRouter':
        Object.assign(this.#router(step.name), { phase: 'stopping', ticksLeft: this.#times.requestTicks + (this.#heals ? 1 : 0) });
        return;
      case 'publishInstances':
        this.#publish(this.#router(step.router), step.instances);
    }
  }

  #publish(router: SimulatedRouter, list: readonly PublishedInstance[]): void {
    const lag = /[13579]$/.test(router.name) ? (this.#times.lagTicks ?? 0) : 0;
    if (lag === 0) router.list = list;
    else router.coming = { list, ticksLeft: router.coming?.ticksLeft ?? lag };
  }

  #newInstance(step: Step & { type: 'startInstance' }): SimulatedInstance {
    return {
      name: step.name,
      role: step.spec.role,
      modelName: step.spec.modelName,
      revision: step.revision,
      family: step.family,
      incarnation: this.#incarnation(),
      phase: 'starting',
      startedMs: this.nowMs,
      failedMs: null,
      failures: 0,
      lastError: null,
      heals: this.#heals,
      drainingSinceMs: null,
      address: { url: `http://${step.name}`, transfer: { host: 'x', port: 1 } },
      ticksLeft: this.#times.startTicks,
      requests: new Map(),
    };
  }

  get #heals(): boolean {
    return this.#times.pods ?? false;
  }

  #incarnation(): string {
    this.#incarnations += 1;
    return `life-${this.#incarnations}`;
  }

  #instance(name: string, phase: ObservedInstance['phase']): SimulatedInstance {
    const instance = this.#instances.get(name);
    if (instance?.phase !== phase) throw new Error(`${name} is ${instance?.phase ?? 'not there'}, a step needs ${phase}`);
    return instance;
  }

  #router(name: string): SimulatedRouter {
    const router = this.#routers.get(name);
    if (!router) throw new Error(`${name} is not there`);
    return router;
  }

  /** One unit of time: starts, ends, live feeds, and new requests on whatever a router may use. */
  tick(ms: number): void {
    this.nowMs += ms;
    for (const instance of this.#instances.values()) this.#tickInstance(instance);
    for (const router of this.#routers.values()) {
      if (router.coming && --router.coming.ticksLeft <= 0) {
        router.list = router.coming.list;
        router.coming = null;
      }
      if (router.phase === 'failed' && this.#heals && --router.ticksLeft <= 0) router.phase = 'ready';
      if (router.phase === 'starting' && --router.ticksLeft <= 0) router.phase = 'ready';
      if (router.phase === 'stopping' && --router.ticksLeft <= 0) this.#end(router);
      router.connected = new Set(router.list.map((line) => line.incarnation));
    }
  }

  #tickInstance(instance: SimulatedInstance): void {
    if (instance.phase === 'failed' && this.#heals && --instance.ticksLeft <= 0) {
      Object.assign(instance, { phase: 'ready', incarnation: this.#incarnation() });
    }
    if (instance.phase === 'starting' && --instance.ticksLeft <= 0) instance.phase = 'ready';
    if (instance.phase === 'stopping' && --instance.ticksLeft <= 0) this.#instances.delete(instance.name);
    for (const router of this.#routers.values()) {
      if (instance.phase === 'ready' && this.#places(router, instance)) instance.requests.set(router.name, this.#times.requestTicks);
      else this.#work(instance, router.name);
    }
  }

  #places(router: SimulatedRouter, instance: SimulatedInstance): boolean {
    const takes = router.phase === 'ready' || (router.phase === 'stopping' && router.ticksLeft > this.#times.requestTicks);
    return takes && router.list.some((one) => one.incarnation === instance.incarnation && !one.draining);
  }

  #work(instance: SimulatedInstance, router: string): void {
    const left = (instance.requests.get(router) ?? 0) - 1;
    if (left > 0) instance.requests.set(router, left);
    else instance.requests.delete(router);
  }

  #end(router: SimulatedRouter): void {
    this.#routers.delete(router.name);
    for (const { requests } of this.#instances.values()) if (requests.delete(router.name)) this.lostRequests += 1;
  }

  crash(pick: number): void {
    const running = [...this.#instances.values()].filter((one) => one.phase === 'ready' || one.phase === 'starting');
    const instance = running[pick % Math.max(1, running.length)];
    if (!instance) return;
    const failures = instance.failures + 1;
    const ticksLeft = this.#times.startTicks;
    Object.assign(instance, { phase: 'failed', failedMs: this.nowMs, failures, lastError: 'killed', requests: new Map(), ticksLeft });
  }

  crashRouter(pick = 0): void {
    const ready = [...this.#routers.values()].filter(({ phase }) => phase === 'ready');
    const router = ready[pick % Math.max(1, ready.length)];
    if (!router) return;
    const failures = router.failures + 1;
    const ticksLeft = this.#times.startTicks;
    Object.assign(router, { phase: 'failed', failedMs: this.nowMs, failures, list: [], coming: null, connected: new Set(), ticksLeft });
    for (const { requests } of this.#instances.values()) requests.delete(router.name);
  }

  /** Routers that clients get to. */
  async servingRouters(): Promise<number> {
    const { routers } = await this.observe();
    return routers.filter(({ serving }) => serving).length;
  }

  /** Instances of these roles that the router which knows the fewest may place new requests on. */
  async serving(...roles: readonly Role[]): Promise<number> {
    const { instances, routers } = await this.observe();
    const counts = routers
      .filter(({ serving }) => serving)
      .map((router) => {
        const usable = router.instances?.filter(({ connected, draining }) => connected && !draining).map(({ incarnation }) => incarnation);
        return instances.filter((one) => roles.includes(one.role) && one.incarnation !== null && usable?.includes(one.incarnation)).length;
      });
    return counts.length === 0 ? 0 : Math.min(...counts);
  }
}
