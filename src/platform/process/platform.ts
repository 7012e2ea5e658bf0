/**
 * The process platform: instances and routers are child processes of this one, on loopback, on ports that the system gives.
 *
 * Invariants
 * - Nothing outlives `close`: every child has ended and the temp folder is gone (what was left in it is counted first).
 * - A process that ends unasked stays listed as `failed` until a step restarts or stops it.
 * - A router keeps its port over restarts, so that its address stays the same.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../shared/index.ts';
import { publish, readRoutedInstances } from '../admin.ts';
import { engineArguments, ONE_THREAD, routerArguments } from '../command.ts';
import type { Observed, Outcome, Platform, Step } from '../port.ts';
import { accepts, call } from '../probe.ts';
import { judge, PROBE_LIMITS, type ProbeLimits, told, transferOf } from './health.ts';
import type { MemberOptions } from './member.ts';
import { InstanceMember, RouterMember } from './members.ts';
import { failure, whyNotBindable } from './port-check.ts';

export interface ProcessPlatformOptions {
  /** How our entry file is run: `executable ...entry engine …`. */
  readonly executable: string;
  readonly entry: readonly string[];
  /** Address that instances listen on. */
  readonly host: string;
  /** Environment of the children; instances add that of their spec. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Folder in which the platform makes one of its own. */
  readonly tempRoot: string;
  readonly clock: Clock;
  /**
   * What the engine is given for a source such as `builtin:tiny`: the path of a GGUF, or for vllm and sglang a folder or a name of the hub. Throws
   * when there is none.
   */
  readonly modelPath: (source: string, engine: 'llamacpp' | 'vllm' | 'sglang') => Promise<string>;
  /** Something happened that an observation would show. */
  readonly onChange: () => void;
  /** A line of a child's stderr. */
  readonly onLine: (member: string, line: string) => void;
  /** Milliseconds from SIGTERM to SIGKILL. */
  readonly instanceStopMs: number;
  readonly routerStopMs: number;
  readonly probes?: ProbeLimits;
}

export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
}

export interface CloseLimits {
  readonly routerMs: number;
  readonly instanceMs: number;
}

/** Only this machine may tell routers of instances. */
const ADMIN_HOST = '127.0.0.1';
const ADMIN_TIMEOUT_MS = 2_000;

export class ProcessPlatform implements Platform {
  readonly #options: ProcessPlatformOptions;
  readonly #probes: ProbeLimits;
  readonly #folder: string;
  readonly #instances = new Map<string, InstanceMember>();
  readonly #routers = new Map<string, RouterMember>();
  #generation = 0;
  /** Port of the last router that was to take any free one. */
  #keptPort = 0;
  #closing: Promise<{ files: number }> | null = null;

  constructor(options: ProcessPlatformOptions) {
    this.#options = options;
    this.#probes = options.probes ?? PROBE_LIMITS;
    this.#folder = mkdtempSync(join(options.tempRoot, 'sluice-'));
  }

  async observe(): Promise<Observed> {
    const instances = [...this.#instances.values()];
    const routers = [...this.#routers.values()];
    const { clock } = this.#options;
    await Promise.all([
      ...instances.map((member) => judge(member, '/health', clock, this.#probes)),
      ...routers.map((member) => this.#look(member)),
    ]);
    for (const member of instances) if (member.ended) this.#instances.delete(member.name);
    for (const member of routers) if (member.ended) this.#routers.delete(member.name);
    return {
      instances: instances.filter((member) => !member.ended).map((member) => member.observed(told(member, 'url'), transferOf(member))),
      routers: routers.filter((member) => !member.ended).map((member) => member.observed(told(member, 'url'), told(member, 'adminUrl'))),
      takenNames: [],
    };
  }

  async #look(member: RouterMember): Promise<void> {
    await judge(member, '/healthz', this.#options.clock, this.#probes);
    const [url, adminUrl] = [told(member, 'url'), told(member, 'adminUrl')];
    if (!member.running || url === null || adminUrl === null) {
      member.see({ accepting: false, serving: false, instances: null });
      return;
    }
    if (member.spec.port === 0) this.#keptPort = Number(new URL(url).port);
    const [list, ready, accepting] = await Promise.all([
      readRoutedInstances(adminUrl, ADMIN_TIMEOUT_MS),
      call({ url: `${url}/readyz`, timeoutMs: ADMIN_TIMEOUT_MS }),
      member.phase === 'stopping' ? accepts(url, ADMIN_TIMEOUT_MS) : true,
    ]);
    const serving = ready.ok && ready.status === 200;
    member.see({ accepting: accepting && member.running, serving, instances: list?.instances ?? null, ...(list ? { kv: list.kv } : {}) });
  }

  async apply(step: Step): Promise<Outcome> {
    if (this.#closing) return failure('the platform is closing');
    const { clock, instanceStopMs, routerStopMs } = this.#options;
    switch (step.type) {
      case 'startInstance':
        this.#instances.set(step.name, new InstanceMember(step));
        return this.#startInstance(step.name);
      case 'restartInstance':
        return this.#startInstance(step.name);
      case 'drainInstance':
        return on(this.#instances, step.name, (member) => member.drain(clock.now()));
      case 'stopInstance':
        return on(this.#instances, step.name, (member) => member.stop(instanceStopMs));
      case 'startRouter':
        this.#routers.set(step.name, new RouterMember(step));
        return this.#startRouter(step.name);
      case 'restartRouter':
        return this.#startRouter(step.name);
      case 'stopRouter':
        return on(this.#routers, step.name, (member) => member.stop(routerStopMs));
      case 'publishInstances':
        return this.#publish(step);
    }
  }

  async #startInstance(name: string): Promise<Outcome> {
    const { clock, host, modelPath } = this.#options;
    const member = this.#instances.get(name);
    if (!member) return missing(name);
    const { spec } = member;
    try {
      const path = spec.engine === 'sim' ? '' : await modelPath(spec.modelSource, spec.engine);
      if (this.#closing) return failure('the platform is closing');
      member.start(this.#memberOptions(name, engineArguments(name, { host, port: 0 }, spec, path), spec.env));
      return { ok: true };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      member.fail(clock.now(), why);
      return failure(why, 'spec.model.source');
    }
  }

  async #startRouter(name: string): Promise<Outcome> {
    const member = this.#routers.get(name);
    if (!member) return missing(name);
    const port = member.spec.port === 0 ? this.#keptPort : member.spec.port;
    const obstacle = await whyNotBindable(member.spec, port);
    if (this.#closing) return failure('the platform is closing');
    if (obstacle) {
      member.fail(this.#options.clock.now(), obstacle.message);
      return obstacle;
    }
    member.start(
      this.#memberOptions(name, routerArguments(member.spec, { host: member.spec.host, port, adminHost: ADMIN_HOST, adminPort: 0 }), {}),
    );
    return { ok: true };
  }

  async #publish({ router, model, instances }: Step & { type: 'publishInstances' }): Promise<Outcome> {
    const member = this.#routers.get(router);
    const adminUrl = member ? told(member, 'adminUrl') : null;
    if (adminUrl === null) return missing(router);
    this.#generation += 1;
    const why = await publish(adminUrl, { generation: this.#generation, model, instances }, ADMIN_TIMEOUT_MS);
    return why === null ? { ok: true } : failure(`${router} did not take the list of instances: ${why}`);
  }

  #memberOptions(name: string, args: readonly string[], env: Readonly<Record<string, string>>): MemberOptions {
    const { executable, entry, environment, clock, onChange, onLine } = this.#options;
    return {
      executable,
      args: [...entry, ...args],
      env: { ...environment, ...ONE_THREAD, TMPDIR: this.#folder, ...env },
      clock,
      onChange,
      onLine: (line) => onLine(name, line),
    };
  }

  /** Children that run now. */
  processes(): RunningProcess[] {
    return [...this.#instances.values(), ...this.#routers.values()].flatMap(({ name, pid, running }) =>
      running && pid !== null ? [{ name, pid }] : [],
    );
  }

  /**
   * Ends all, routers first so that accepted requests finish, and removes the temp folder. Idempotent.
   * @param limits milliseconds from SIGTERM to SIGKILL for routers and then for instances.
   */
  close(limits: CloseLimits): Promise<{ readonly files: number }> {
    this.#closing ??= this.#close(limits);
    return this.#closing;
  }

  async #close({ routerMs, instanceMs }: CloseLimits): Promise<{ files: number }> {
    await endAll([...this.#routers.values()], routerMs);
    await endAll([...this.#instances.values()], instanceMs);
    const files = readdirSync(this.#folder, { recursive: true }).length;
    rmSync(this.#folder, { recursive: true, force: true });
    return { files };
  }

  /** Ends every child at once, accepted requests included. */
  killAll(): void {
    for (const member of [...this.#instances.values(), ...this.#routers.values()]) member.kill('killed on request');
  }
}

async function endAll(members: readonly (InstanceMember | RouterMember)[], killAfterMs: number): Promise<void> {
  for (const member of members) member.stop(killAfterMs);
  await Promise.all(members.map((member) => member.gone()));
}

function on<M>(members: ReadonlyMap<string, M>, name: string, act: (member: M) => void): Outcome {
  const member = members.get(name);
  if (!member) return missing(name);
  act(member);
  return { ok: true };
}

function missing(name: string): Outcome {
  return failure(`${name} is not there, or does not listen yet`);
}
