/** What the two kinds of members add, and how each shows in an observation. */
import type { InstanceSpec, ObservedInstance, ObservedRouter, RoutedInstance, RoutedKv, RouterSpec } from '../port.ts';
import { Member } from './member.ts';

export class InstanceMember extends Member {
  readonly name: string;
  readonly spec: InstanceSpec;
  readonly family: string;
  #drainingSinceMs: number | null = null;

  constructor({ name, spec, revision, family }: { name: string; spec: InstanceSpec; revision: string; family: string }) {
    super(revision);
    this.name = name;
    this.spec = spec;
    this.family = family;
  }

  drain(nowMs: number): void {
    this.#drainingSinceMs ??= nowMs;
  }

  observed(url: string | null, transfer: { host: string; port: number } | null): ObservedInstance {
    const { revision, phase, startedMs, failedMs, failures, lastError, name, family } = this;
    const incarnation = this.hello?.['incarnation'];
    return {
      revision,
      phase,
      startedMs,
      failedMs,
      failures,
      lastError,
      heals: false,
      name,
      family,
      role: this.spec.role,
      modelName: this.spec.modelName,
      incarnation: typeof incarnation === 'string' ? incarnation : null,
      address: url === null || transfer === null ? null : { url, transfer },
      drainingSinceMs: this.#drainingSinceMs,
    };
  }
}

/** What a router said at the last look. */
export interface RouterView {
  readonly accepting: boolean;
  readonly serving: boolean;
  readonly instances: readonly RoutedInstance[] | null;
  readonly kv?: RoutedKv;
}

export class RouterMember extends Member {
  readonly name: string;
  readonly spec: RouterSpec;
  #view: RouterView = { accepting: false, serving: false, instances: null };

  constructor({ name, spec, revision }: { name: string; spec: RouterSpec; revision: string }) {
    super(revision);
    this.name = name;
    this.spec = spec;
  }

  see(view: RouterView): void {
    this.#view = view;
  }

  observed(url: string | null, adminUrl: string | null): ObservedRouter {
    const { revision, phase, startedMs, failedMs, failures, lastError, name } = this;
    return { revision, phase, startedMs, failedMs, failures, lastError, heals: false, name, ...this.#view, url, adminUrl };
  }
}
